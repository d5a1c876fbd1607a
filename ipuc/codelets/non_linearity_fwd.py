"""NonLinearityFwd: a rectifier, written over its operand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from ipuc.codelets.amp import as_cycles
from ipuc.codelets.define import (
    Array,
    Batch,
    Codelet,
    Example,
    FieldSpec,
    FreeAxis,
    InOut,
    Number,
    ceil_div,
    elements,
    pointwise,
)
from ipuc.target import Target
from ipuc.types import Shape


class NonLinearityFwd(Codelet):
    """x = max(x, 0): some elements of a tile, by one of its workers.

    Source: vertices as in PopLibs, winter 2016/17. Cycles are our own estimate, of one worker: 10
    around it, a load, a comparison and a store of each 64 bits.
    """

    name: ClassVar[str] = "NonLinearityFwd"
    fields: ClassVar[tuple[FieldSpec, ...]] = (InOut("x"),)

    def compute(self, batch: Batch, **operands: Array) -> dict[str, Array]:
        """Compare with 0."""
        x = operands["x"]
        return {"x": np.maximum(x, x.dtype.type(0), out=batch.into.get("x"))}

    def free_axes(self, windows: Mapping[str, Shape]) -> tuple[FreeAxis, ...]:
        """Every axis."""
        return pointwise(windows, ("x",))

    def cycles(
        self, target: Target, windows: Mapping[str, tuple[Number, ...]], itemsize: int
    ) -> Number:
        """Cycles of one vertex."""
        workers = target.worker_contexts
        vectors = ceil_div(np.asarray(elements(windows["x"])), target.vector_width(itemsize))
        return as_cycles(workers * ceil_div(10 + 3 * vectors, workers))

    def flops(self, windows: Mapping[str, Shape]) -> int:
        """A comparison for each element."""
        return int(elements(windows["x"]))

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """Floats and halves."""
        return (
            Example(cls(), {"x": (5,)}, larger={"x": (90,)}),
            Example(cls(), {"x": (6,)}, {"x": "float16"}, larger={"x": (90,)}),
        )
