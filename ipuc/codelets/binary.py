"""BinaryOp: two operands, element by element."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from ipuc.codelets import functions
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
from ipuc.codelets.loops import BINARY, INTEGER, INTEGER_DIVIDE, Loop, fused
from ipuc.target import Target
from ipuc.types import Shape


@dataclass(frozen=True, slots=True)
class BinaryKind:
    """Meaning and cost of one operation.

    Attributes:
        apply: NumPy meaning.
        loop: see `ipuc.codelets.loops`.
        integer: (cycles of one loop, elements it handles) for whole numbers.
        dtypes: element types of the fields in a typical use, for tests.
        ranges: operands of that use.
    """

    apply: Callable[[Any, Any], Array]
    loop: Loop
    integer: tuple[int, int] = INTEGER
    dtypes: Mapping[str, str] = field(default_factory=dict)
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)


def _prelu(x: Array, slope: Array) -> Array:
    return np.where(x > 0, x, x * slope)


_TEST = {"out": "bool"}
_FLAGS = dict.fromkeys(("a", "b", "out"), "bool")
_WORDS = dict.fromkeys(("a", "b", "out"), "uint32")
_SHIFT = {"b": (0.0, 3.0)}
_COMPARE = BINARY["compare"]

KINDS: dict[str, BinaryKind] = {
    "add": BinaryKind(np.add, BINARY["add"]),
    "and": BinaryKind(np.logical_and, BINARY["logical"], dtypes=_FLAGS),
    "bit_and": BinaryKind(np.bitwise_and, BINARY["bits"], dtypes=_WORDS),
    "bit_or": BinaryKind(np.bitwise_or, BINARY["bits"], dtypes=_WORDS),
    "bit_xor": BinaryKind(np.bitwise_xor, BINARY["bits"], dtypes=_WORDS),
    "div": BinaryKind(functions.divide, BINARY["div"], INTEGER_DIVIDE, ranges={"b": (0.5, 2)}),
    "eq": BinaryKind(
        np.equal,
        _COMPARE,
        dtypes={"a": "int32", "b": "int32", "out": "bool"},
        ranges={"a": (0, 2), "b": (0, 2)},
    ),
    "fmod": BinaryKind(np.fmod, BINARY["remainder"], INTEGER_DIVIDE, ranges={"b": (0.5, 2)}),
    "ge": BinaryKind(np.greater_equal, _COMPARE, dtypes=_TEST),
    "gt": BinaryKind(np.greater, _COMPARE, dtypes=_TEST),
    "le": BinaryKind(np.less_equal, _COMPARE, dtypes=_TEST),
    "lt": BinaryKind(np.less, _COMPARE, dtypes=_TEST),
    "max": BinaryKind(np.maximum, BINARY["max"]),
    "min": BinaryKind(np.minimum, BINARY["max"]),
    "mod": BinaryKind(np.mod, BINARY["remainder"], INTEGER_DIVIDE, ranges={"b": (0.5, 2)}),
    "mul": BinaryKind(np.multiply, BINARY["add"]),
    "or": BinaryKind(np.logical_or, BINARY["logical"], dtypes=_FLAGS),
    # whole powers come from repeated multiplication of at most 32 bits of exponent
    "pow": BinaryKind(functions.power, BINARY["pow"], (312, 1), ranges={"a": (0.1, 3)}),
    "prelu": BinaryKind(_prelu, fused("add", "max")),
    "shift_left": BinaryKind(np.left_shift, BINARY["bits"], dtypes=_WORDS, ranges=_SHIFT),
    "shift_right": BinaryKind(np.right_shift, BINARY["bits"], dtypes=_WORDS, ranges=_SHIFT),
    "sub": BinaryKind(np.subtract, BINARY["add"]),
    "xor": BinaryKind(np.logical_xor, BINARY["logical"], dtypes=_FLAGS),
}


@dataclass(frozen=True)
class BinaryOp(Codelet):
    """out = a (op) b. Windows of all fields have one shape.

    Attributes:
        op: a key of `KINDS`.
        integer: the operands are whole numbers, which have loops of their own.

    Source: PopLibs BinaryOp1D: 11 + W * (29 float, 26 half + loop over ceil(n / W) elements).
    """

    op: str
    integer: bool = False

    name: ClassVar[str] = "BinaryOp"
    fields: ClassVar[tuple[FieldSpec, ...]] = (In("a"), In("b"), Out("out"))

    def compute(self, batch: Batch, **operands: Array) -> dict[str, Array]:
        """Apply the operation."""
        del batch
        return {"out": KINDS[self.op].apply(operands["a"], operands["b"])}

    def free_axes(self, windows: Mapping[str, Shape]) -> tuple[FreeAxis, ...]:
        """Every axis."""
        return pointwise(windows, ("a", "b", "out"))

    def cycles(
        self, target: Target, windows: Mapping[str, tuple[Number, ...]], itemsize: int
    ) -> Number:
        """Cycles of one vertex."""
        workers = target.worker_contexts
        kind = KINDS[self.op]
        cost, each = kind.loop[0] if itemsize >= 4 else kind.loop[1]
        if self.integer:
            cost, each = kind.integer
        per_worker = ceil_div(elements(windows["out"]), workers)
        base = 29 if itemsize >= 4 else 26
        return 11 + workers * (base + ceil_div(per_worker, each) * cost)

    def formula(self, target: Target, windows: Mapping[str, Shape], itemsize: int) -> str:
        """The formula of `cycles` with its numbers."""
        kind = KINDS[self.op]
        cost, each = kind.integer if self.integer else kind.loop[0 if itemsize >= 4 else 1]
        workers, base = target.worker_contexts, 29 if itemsize >= 4 else 26
        loop = f"ceil(ceil({elements(windows['out'])} / {workers}) / {each}) x {cost}"
        made = self.cycles(target, windows, itemsize)
        return f"11 + {workers} x ({base} + {loop}) = {made:,}"

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """Each operation on a vector, one on whole numbers, and one on a block of halves."""
        vector = {"a": (5,), "b": (5,), "out": (5,)}
        block = {"a": (2, 3), "b": (2, 3), "out": (2, 3)}
        return (
            *(Example(cls(op), vector, kind.dtypes, kind.ranges) for op, kind in KINDS.items()),
            Example(
                cls("div", integer=True), vector, dict.fromkeys(vector, "int32"), {"b": (1, 9)}
            ),
            Example(cls("add"), block, dict.fromkeys(block, "float16")),
        )
