"""NonLinearityBwd: the gradient of a rectifier."""

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
    In,
    Number,
    Out,
    ceil_div,
    elements,
    pointwise,
)
from ipuc.target import Target
from ipuc.types import Shape


class NonLinearityBwd(Codelet):
    """dx = dy where the rectifier's result y is positive, else 0: some elements of a tile.

    Source: vertices as in PopLibs, winter 2016/17. Cycles are our own estimate, of one worker: 10
    around it, two loads, a comparison, a choice and a store of each 64 bits.
    """

    name: ClassVar[str] = "NonLinearityBwd"
    fields: ClassVar[tuple[FieldSpec, ...]] = (In("y"), In("dy"), Out("dx"))

    def compute(self, batch: Batch, **operands: Array) -> dict[str, Array]:
        """Choose."""
        del batch
        y, dy = operands["y"], operands["dy"]
        return {"dx": np.where(y > 0, dy, dy.dtype.type(0))}

    def free_axes(self, windows: Mapping[str, Shape]) -> tuple[FreeAxis, ...]:
        """Every axis."""
        return pointwise(windows, ("y", "dy", "dx"))

    def cycles(
        self, target: Target, windows: Mapping[str, tuple[Number, ...]], itemsize: int
    ) -> Number:
        """Cycles of one vertex."""
        workers = target.worker_contexts
        vectors = ceil_div(np.asarray(elements(windows["dx"])), target.vector_width(itemsize))
        return as_cycles(workers * ceil_div(10 + 5 * vectors, workers))

    def flops(self, windows: Mapping[str, Shape]) -> int:
        """A comparison for each element."""
        return int(elements(windows["dx"]))

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """Floats and halves."""
        some: dict[str, Shape] = dict.fromkeys(("y", "dy", "dx"), (5,))
        more: dict[str, Shape] = dict.fromkeys(some, (90,))
        return (
            Example(cls(), some, larger=more),
            Example(cls(), some, dict.fromkeys(some, "float16"), larger=more),
        )
