"""Select: one of two operands, by a flag."""

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


class Select(Codelet):
    """out = a where the flag is set, else b. Windows of all fields have one shape.

    Source: PopLibs popopsCycleEstimators.cpp, Select: 5 + (6 + 5 n) per worker, n elements each;
    six workers share the window.
    """

    name: ClassVar[str] = "Select"
    fields: ClassVar[tuple[FieldSpec, ...]] = (In("flag"), In("a"), In("b"), Out("out"))

    def compute(self, batch: Batch, **operands: Array) -> dict[str, Array]:
        """Choose."""
        del batch
        return {"out": np.where(operands["flag"], operands["a"], operands["b"])}

    def cycles(
        self, target: Target, windows: Mapping[str, tuple[Number, ...]], itemsize: int
    ) -> Number:
        """Cycles of one vertex."""
        del itemsize
        workers = target.worker_contexts
        return workers * (5 + 6 + 5 * ceil_div(elements(windows["out"]), workers))

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """A vector, and a block of whole numbers."""
        vector = dict.fromkeys(("flag", "a", "b", "out"), (5,))
        block = dict.fromkeys(vector, (2, 3))
        whole = {"flag": "bool", "a": "int32", "b": "int32", "out": "int32"}
        return (Example(cls(), vector, {"flag": "bool"}), Example(cls(), block, whole))
