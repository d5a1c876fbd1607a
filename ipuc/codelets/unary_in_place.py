"""UnaryOpInPlace: one operand, element by element, written over."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

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
from ipuc.codelets.loops import UNARY_IN_PLACE
from ipuc.codelets.unary import KINDS
from ipuc.target import Target
from ipuc.types import Shape


@dataclass(frozen=True)
class UnaryOpInPlace(Codelet):
    """x = op(x).

    Attributes:
        op: a key of `ipuc.codelets.unary.KINDS`.
        numbers: parameters of the operation.

    Source: PopLibs UnaryOp1DInPlace: W * (55 + loop over ceil(n / W) elements) + 20.
    """

    op: str
    numbers: tuple[float, ...] = ()

    name: ClassVar[str] = "UnaryOpInPlace"
    fields: ClassVar[tuple[FieldSpec, ...]] = (InOut("x"),)

    def compute(self, batch: Batch, **operands: Array) -> dict[str, Array]:
        """Apply the operation."""
        del batch
        return {"x": KINDS[self.op].apply(operands["x"], *self.numbers)}

    def free_axes(self, windows: Mapping[str, Shape]) -> tuple[FreeAxis, ...]:
        """Every axis."""
        return pointwise(windows, ("x",))

    def cycles(
        self, target: Target, windows: Mapping[str, tuple[Number, ...]], itemsize: int
    ) -> Number:
        """Cycles of one vertex."""
        loops = UNARY_IN_PLACE.get(self.op, KINDS[self.op].loop)
        cost, each = loops[0] if itemsize >= 4 else loops[1]
        per_worker = ceil_div(elements(windows["x"]), target.worker_contexts)
        return target.worker_contexts * (55 + ceil_div(per_worker, each) * cost) + 20

    def formula(self, target: Target, windows: Mapping[str, Shape], itemsize: int) -> str:
        """The formula of `cycles` with its numbers."""
        loops = UNARY_IN_PLACE.get(self.op, KINDS[self.op].loop)
        cost, each = loops[0] if itemsize >= 4 else loops[1]
        workers = target.worker_contexts
        loop = f"ceil(ceil({elements(windows['x'])} / {workers}) / {each}) x {cost}"
        made = self.cycles(target, windows, itemsize)
        return f"{workers} x (55 + {loop}) + 20 = {made:,}"

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """Each operation that keeps the type, on a vector, and one on a block of halves."""
        return (
            *(
                Example(
                    cls(op, kind.sample),
                    {"x": (5,)},
                    {"x": kind.dtypes["x"]} if kind.dtypes else {},
                    {} if kind.range is None else {"x": kind.range},
                )
                for op, kind in KINDS.items()
                if kind.sample is not None
            ),
            Example(cls("tanh"), {"x": (2, 3)}, {"x": "float16"}),
        )
