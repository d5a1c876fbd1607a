"""Clamp: hold elements between bounds that are data."""

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
    In,
    Number,
    Out,
    ceil_div,
    elements,
)
from ipuc.target import Target


class Clamp(Codelet):
    """out = min(max(x, low), high). Windows of all fields have one shape.

    Source: PopLibs popopsCycleEstimators.cpp, Clamp: 5 + (6 + 2 ceil(n / v)) per worker, n elements
    each; six workers share the window.
    """

    name: ClassVar[str] = "Clamp"
    fields: ClassVar[tuple[FieldSpec, ...]] = (In("x"), In("low"), In("high"), Out("out"))

    def compute(self, batch: Batch, **operands: Array) -> dict[str, Array]:
        """Clamp; where the bounds cross, the upper one wins."""
        del batch
        return {"out": np.minimum(np.maximum(operands["x"], operands["low"]), operands["high"])}

    def cycles(
        self, target: Target, windows: Mapping[str, tuple[Number, ...]], itemsize: int
    ) -> Number:
        """Cycles of one vertex."""
        workers = target.worker_contexts
        per_worker = ceil_div(elements(windows["out"]), workers)
        return workers * (5 + 6 + 2 * ceil_div(per_worker, target.vector_width(itemsize)))

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """A vector whose bounds are met often, and a block of halves."""
        vector = dict.fromkeys(("x", "low", "high", "out"), (5,))
        block = dict.fromkeys(vector, (2, 3))
        bounds = {"low": (-1.0, 0.0), "high": (0.0, 1.0)}
        halves = dict.fromkeys(vector, "float16")
        return (Example(cls(), vector, ranges=bounds), Example(cls(), block, halves, bounds))
