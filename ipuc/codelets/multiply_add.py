"""MultiplyAdd: x * scale + shift, what a normalisation with known statistics comes to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

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
from ipuc.codelets.loops import fused
from ipuc.target import Target

_LOOP = fused("add", "add")


class MultiplyAdd(Codelet):
    """out = x * scale + shift. Windows of all fields have one shape.

    Source: our own estimate: a fused map expression costs BinaryOp1D's frame and the loops of
    a multiplication and an addition, without the load and store between them.
    """

    name: ClassVar[str] = "MultiplyAdd"
    fields: ClassVar[tuple[FieldSpec, ...]] = (In("x"), In("scale"), In("shift"), Out("out"))

    def compute(self, batch: Batch, **operands: Array) -> dict[str, Array]:
        """Multiply, then add."""
        del batch
        product = operands["x"] * operands["scale"]
        product += operands["shift"]
        return {"out": product}

    def cycles(
        self, target: Target, windows: Mapping[str, tuple[Number, ...]], itemsize: int
    ) -> Number:
        """Cycles of one vertex."""
        workers = target.worker_contexts
        cost, each = _LOOP[0] if itemsize >= 4 else _LOOP[1]
        per_worker = ceil_div(elements(windows["out"]), workers)
        base = 29 if itemsize >= 4 else 26
        return 11 + workers * (base + ceil_div(per_worker, each) * cost)

    def flops(self, windows: Mapping[str, tuple[int, ...]]) -> int:
        """One multiplication and one addition for each element."""
        return 2 * int(elements(windows["out"]))

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """A vector, and a block of halves with float32 parameters."""
        vector = dict.fromkeys(("x", "scale", "shift", "out"), (5,))
        block = dict.fromkeys(vector, (2, 3))
        return (
            Example(cls(), vector),
            Example(cls(), block, {"x": "float16", "out": "float16"}),
        )
