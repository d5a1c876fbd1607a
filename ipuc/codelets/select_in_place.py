"""SelectInPlace: keep an element where a flag is set, else take another's place."""

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


class SelectInPlace(Codelet):
    """a = a where the flag is set, else b. Windows of all fields have one shape.

    Source: PopLibs popopsCycleEstimators.cpp, Select: 5 + (6 + 5 n) per worker, n elements each;
    taken for the same in place.
    """

    name: ClassVar[str] = "SelectInPlace"
    fields: ClassVar[tuple[FieldSpec, ...]] = (In("flag"), InOut("a"), In("b"))

    def compute(self, batch: Batch, **operands: Array) -> dict[str, Array]:
        """Choose."""
        del batch
        return {"a": np.where(operands["flag"], operands["a"], operands["b"])}

    def free_axes(self, windows: Mapping[str, Shape]) -> tuple[FreeAxis, ...]:
        """Every axis."""
        return pointwise(windows, ("flag", "a", "b"))

    def cycles(
        self, target: Target, windows: Mapping[str, tuple[Number, ...]], itemsize: int
    ) -> Number:
        """Cycles of one vertex."""
        del itemsize
        workers = target.worker_contexts
        return workers * (5 + 6 + 5 * ceil_div(elements(windows["a"]), workers))

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """A vector, and a block of halves."""
        vector = dict.fromkeys(("flag", "a", "b"), (5,))
        block = dict.fromkeys(vector, (2, 3))
        halves = {"flag": "bool", "a": "float16", "b": "float16"}
        return (Example(cls(), vector, {"flag": "bool"}), Example(cls(), block, halves))
