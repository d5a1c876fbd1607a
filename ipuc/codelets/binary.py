"""BinaryOp: two operands, element by element."""

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
class BinaryKind:
    """Meaning and cost of one operation.

    Attributes:
        apply: NumPy meaning.
        float32: (cycles of one loop, elements a loop handles) for 4-byte elements.
        float16: the same for 2-byte elements.
    """

    apply: Callable[[Any, Any], Array]
    float32: tuple[int, int]
    float16: tuple[int, int]


#: Source: PopLibs popopsCycleEstimators (loop bodies of BinaryOp1D).
KINDS: dict[str, BinaryKind] = {
    "add": BinaryKind(np.add, (3, 2), (3, 4)),
    "sub": BinaryKind(np.subtract, (3, 2), (3, 4)),
    "mul": BinaryKind(np.multiply, (3, 2), (3, 4)),
}


@dataclass(frozen=True)
class BinaryOp(Codelet):
    """out = a (op) b. Windows of all fields have one shape.

    Attributes:
        op: a key of `KINDS`.

    Source: PopLibs BinaryOp1D: 11 + W * (29 float, 26 half + loop over ceil(n / W) elements).
    """

    op: str

    name: ClassVar[str] = "BinaryOp"
    fields: ClassVar[tuple[FieldSpec, ...]] = (In("a"), In("b"), Out("out"))

    def compute(self, batch: Batch, **operands: Array) -> dict[str, Array]:
        """Apply the operation."""
        del batch
        return {"out": KINDS[self.op].apply(operands["a"], operands["b"])}

    def cycles(
        self, target: Target, windows: Mapping[str, tuple[Number, ...]], itemsize: int
    ) -> Number:
        """Cycles of one vertex."""
        workers = target.worker_contexts
        kind = KINDS[self.op]
        cost, each = kind.float32 if itemsize >= 4 else kind.float16
        per_worker = ceil_div(elements(windows["out"]), workers)
        base = 29 if itemsize >= 4 else 26
        return 11 + workers * (base + ceil_div(per_worker, each) * cost)

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """Each operation on a vector, and one on a block of halves."""
        vector = {"a": (5,), "b": (5,), "out": (5,)}
        block = {"a": (2, 3), "b": (2, 3), "out": (2, 3)}
        halves = dict.fromkeys(block, "float16")
        return (
            *(Example(cls(op), vector) for op in KINDS),
            Example(cls("add"), block, halves),
        )
