"""MultiplyAddInPlace: x * scale + shift, written over x."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

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
from ipuc.codelets.loops import fused
from ipuc.target import Target
from ipuc.types import Shape

_LOOP = fused("add", "add")


class MultiplyAddInPlace(Codelet):
    """x = x * scale + shift. Windows of all fields have one shape.

    Source: our own estimate: a fused map expression costs BinaryOp1DInPlace's frame and the loops
    of a multiplication and an addition, without the load and store between them.
    """

    name: ClassVar[str] = "MultiplyAddInPlace"
    fields: ClassVar[tuple[FieldSpec, ...]] = (InOut("x"), In("scale"), In("shift"))

    def compute(self, batch: Batch, **operands: Array) -> dict[str, Array]:
        """Multiply, then add."""
        del batch
        product = operands["x"] * operands["scale"]
        product += operands["shift"]
        return {"x": product}

    def free_axes(self, windows: Mapping[str, Shape]) -> tuple[FreeAxis, ...]:
        """Every axis."""
        return pointwise(windows, ("x", "scale", "shift"))

    def cycles(
        self, target: Target, windows: Mapping[str, tuple[Number, ...]], itemsize: int
    ) -> Number:
        """Cycles of one vertex."""
        workers = target.worker_contexts
        cost, each = _LOOP[0] if itemsize >= 4 else _LOOP[1]
        per_worker = ceil_div(elements(windows["x"]), workers)
        return 11 + workers * (58 + ceil_div(per_worker, each) * cost)

    def flops(self, windows: Mapping[str, tuple[int, ...]]) -> int:
        """One multiplication and one addition for each element."""
        return 2 * int(elements(windows["x"]))

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """A vector, and a block of halves with float32 parameters."""
        vector = dict.fromkeys(("x", "scale", "shift"), (5,))
        block = dict.fromkeys(vector, (2, 3))
        return (Example(cls(), vector), Example(cls(), block, {"x": "float16"}))
