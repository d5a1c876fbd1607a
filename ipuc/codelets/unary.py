"""UnaryOp: one operand, element by element."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

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


@dataclass(frozen=True, slots=True)
class UnaryKind:
    """Meaning and cost of one operation.

    Attributes:
        apply: NumPy meaning: the operand, then the parameters.
        float32: (cycles of one loop, elements a loop handles) for 4-byte elements.
        float16: the same for 2-byte elements.
    """

    apply: Callable[..., Any]
    float32: tuple[int, int]
    float16: tuple[int, int]


def _relu(x: Array) -> Any:
    return np.maximum(x, x.dtype.type(0))


#: Source of the loop costs: lowering.md 3.1 (PopLibs popopsCycleEstimators).
KINDS: dict[str, UnaryKind] = {
    "relu": UnaryKind(_relu, (3, 2), (3, 4)),
}


@dataclass(frozen=True)
class UnaryOp(Codelet):
    """out = op(x). Windows of both fields have one shape.

    Attributes:
        op: a key of `KINDS`.
        numbers: parameters of the operation.

    Source: PopLibs UnaryOp1D: W * (17 (exp 33) + loop over ceil(n / W) elements) + 20.
    """

    op: str
    numbers: tuple[float, ...] = ()

    name: ClassVar[str] = "UnaryOp"
    fields: ClassVar[tuple[FieldSpec, ...]] = (In("x"), Out("out"))

    def compute(self, batch: Batch, **operands: Array) -> dict[str, Array]:
        """Apply the operation."""
        del batch
        return {"out": KINDS[self.op].apply(operands["x"], *self.numbers)}

    def cycles(
        self, target: Target, windows: Mapping[str, tuple[Number, ...]], itemsize: int
    ) -> Number:
        """Cycles of one vertex."""
        kind = KINDS[self.op]
        cost, each = kind.float32 if itemsize >= 4 else kind.float16
        per_worker = ceil_div(elements(windows["out"]), target.worker_contexts)
        base = 33 if self.op == "exp" else 17
        return target.worker_contexts * (base + ceil_div(per_worker, each) * cost) + 20

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """Each operation on a vector, and one on a block of halves."""
        block = {"x": (2, 3), "out": (2, 3)}
        return (
            *(Example(cls(op), {"x": (5,), "out": (5,)}) for op in KINDS),
            Example(cls("relu"), block, dict.fromkeys(block, "float16")),
        )
