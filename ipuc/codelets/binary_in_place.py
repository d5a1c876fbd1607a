"""BinaryOpInPlace: two operands, element by element, the first of them written over."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from ipuc.codelets.binary import KINDS
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


@dataclass(frozen=True)
class BinaryOpInPlace(Codelet):
    """a = a (op) b for floats. Windows of both fields have one shape.

    Attributes:
        op: a key of `ipuc.codelets.binary.KINDS`.

    Source: PopLibs BinaryOp1DInPlace: 11 + W * (58 + loop over ceil(n / W) elements).
    """

    op: str

    name: ClassVar[str] = "BinaryOpInPlace"
    fields: ClassVar[tuple[FieldSpec, ...]] = (InOut("a"), In("b"))

    def compute(self, batch: Batch, **operands: Array) -> dict[str, Array]:
        """Apply the operation."""
        del batch
        return {"a": KINDS[self.op].apply(operands["a"], operands["b"])}

    def free_axes(self, windows: Mapping[str, Shape]) -> tuple[FreeAxis, ...]:
        """Every axis."""
        return pointwise(windows, ("a", "b"))

    def cycles(
        self, target: Target, windows: Mapping[str, tuple[Number, ...]], itemsize: int
    ) -> Number:
        """Cycles of one vertex."""
        workers = target.worker_contexts
        loops = KINDS[self.op].loop
        cost, each = loops[0] if itemsize >= 4 else loops[1]
        per_worker = ceil_div(elements(windows["a"]), workers)
        return 11 + workers * (58 + ceil_div(per_worker, each) * cost)

    def formula(self, target: Target, windows: Mapping[str, Shape], itemsize: int) -> str:
        """The formula of `cycles` with its numbers."""
        cost, each = KINDS[self.op].loop[0 if itemsize >= 4 else 1]
        workers = target.worker_contexts
        loop = f"ceil(ceil({elements(windows['a'])} / {workers}) / {each}) x {cost}"
        made = self.cycles(target, windows, itemsize)
        return f"11 + {workers} x (58 + {loop}) = {made:,}"

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """Each operation on floats that makes floats, and one on a block of halves."""
        vector, block = {"a": (5,), "b": (5,)}, {"a": (2, 3), "b": (2, 3)}
        # A remainder must differ from what is divided, or it does not show that it was written.
        large = {"fmod": {"a": (2.5, 9.0)}}
        return (
            *(
                Example(cls(op), vector, ranges={**kind.ranges, **large.get(op, {})})
                for op, kind in KINDS.items()
                if not kind.dtypes
            ),
            Example(cls("add"), block, dict.fromkeys(block, "float16")),
        )
