"""ClampInPlace: hold elements between bounds that are data, where they lie."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from ipuc.codelets.define import (
    Array,
    Batch,
    Codelet,
    Example,
    FieldSpec,
    FreeAxis,
    In,
    InOut,
    Number,
    ceil_div,
    elements,
    pointwise,
)
from ipuc.target import Target
from ipuc.types import Shape


class ClampInPlace(Codelet):
    """x = min(max(x, low), high). Windows of all fields have one shape.

    Source: PopLibs popopsCycleEstimators.cpp, Clamp: 5 + (6 + 2 ceil(n / v)) per worker, n elements
    each; taken for the same in place.
    """

    name: ClassVar[str] = "ClampInPlace"
    fields: ClassVar[tuple[FieldSpec, ...]] = (InOut("x"), In("low"), In("high"))

    def compute(self, batch: Batch, **operands: Array) -> dict[str, Array]:
        """Clamp; where the bounds cross, the upper one wins."""
        del batch
        return {"x": np.minimum(np.maximum(operands["x"], operands["low"]), operands["high"])}

    def free_axes(self, windows: Mapping[str, Shape]) -> tuple[FreeAxis, ...]:
        """Every axis."""
        return pointwise(windows, ("x", "low", "high"))

    def cycles(
        self, target: Target, windows: Mapping[str, tuple[Number, ...]], itemsize: int
    ) -> Number:
        """Cycles of one vertex."""
        workers = target.worker_contexts
        per_worker = ceil_div(elements(windows["x"]), workers)
        return workers * (5 + 6 + 2 * ceil_div(per_worker, target.vector_width(itemsize)))

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """A vector whose bounds are met often, and a block of halves."""
        vector = dict.fromkeys(("x", "low", "high"), (5,))
        block = dict.fromkeys(vector, (2, 3))
        bounds = {"low": (-1.0, 0.0), "high": (0.0, 1.0)}
        halves = dict.fromkeys(vector, "float16")
        return (Example(cls(), vector, ranges=bounds), Example(cls(), block, halves, bounds))
