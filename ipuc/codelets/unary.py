"""UnaryOp: one operand, element by element."""

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
from ipuc.codelets.loops import UNARY, Loop, fused
from ipuc.target import Target
from ipuc.types import Shape


@dataclass(frozen=True, slots=True)
class UnaryKind:
    """Meaning and cost of one operation.

    Attributes:
        apply: NumPy meaning: the operand, then the parameters.
        loop: see `ipuc.codelets.loops`.
        sample: parameters of a typical use, for tests; None for a test of single values that
            random numbers do not hit.
        dtypes: element types of operand and result of that use.
        range: arguments of that use.
    """

    apply: Callable[..., Any]
    loop: Loop
    sample: tuple[float, ...] | None = ()
    dtypes: Mapping[str, str] = field(default_factory=dict)
    range: tuple[float, float] | None = None


def _relu(x: Array) -> Any:
    return np.maximum(x, x.dtype.type(0))


def _hard_swish(x: Array) -> Any:
    return x * functions.hard_sigmoid(x, 1 / 6, 0.5)


def _inv_std(variance: Array, epsilon: float) -> Any:
    return 1 / np.sqrt(variance + epsilon)


def _mish(x: Array) -> Any:
    return x * np.tanh(functions.softplus(x))


_FLAGS = {"x": "bool", "out": "bool"}
_WHOLE = {"x": "int32", "out": "int32"}
# PopLibs gives no loop for the inverse and hyperbolic functions. Tangent and the inverses are
# taken for as dear as its sine, the hyperbolic ones for expressions of exp, log and sqrt.
_SINE = UNARY["sin"]
_HYPERBOLIC = fused("exp", "exp", "add", "add")
_AREA = fused("square", "add", "sqrt", "add", "log")

KINDS: dict[str, UnaryKind] = {
    "abs": UnaryKind(np.abs, UNARY["abs"]),
    "acos": UnaryKind(np.arccos, _SINE, range=(-1, 1)),
    "acosh": UnaryKind(np.arccosh, _AREA, range=(1, 9)),
    "asin": UnaryKind(np.arcsin, _SINE, range=(-1, 1)),
    "asinh": UnaryKind(np.arcsinh, _AREA),
    "at_least": UnaryKind(np.maximum, UNARY["relu"], (-0.5,)),
    "at_most": UnaryKind(np.minimum, UNARY["relu"], (0.5,)),
    "atan": UnaryKind(np.arctan, _SINE),
    "atanh": UnaryKind(np.arctanh, fused("add", "add", "div", "log"), range=(-0.9, 0.9)),
    "bit_not": UnaryKind(np.invert, ((7, 1), (7, 1)), dtypes=_WHOLE),
    "ceil": UnaryKind(np.ceil, UNARY["floor"], range=(-9, 9)),
    "celu": UnaryKind(
        functions.celu, fused("exp", "add", "add", "max", "max", "add"), (2.0,), range=(-2, 2)
    ),
    "clip": UnaryKind(np.clip, fused("max", "max"), (-0.5, 0.75)),
    "cos": UnaryKind(np.cos, _SINE),
    "cosh": UnaryKind(np.cosh, _HYPERBOLIC),
    "elu": UnaryKind(functions.elu, fused("exp", "add", "add", "max"), (1.5,)),
    "erf": UnaryKind(functions.erf, UNARY["erf"]),
    "exp": UnaryKind(np.exp, UNARY["exp"]),
    "floor": UnaryKind(np.floor, UNARY["floor"], range=(-9, 9)),
    "gelu": UnaryKind(functions.gelu, UNARY["gelu_erf"]),
    "gelu_tanh": UnaryKind(
        functions.gelu_tanh, fused("square", "add", "add", "add", "tanh", "add", "add")
    ),
    "hard_sigmoid": UnaryKind(
        functions.hard_sigmoid, fused("add", "add", "max", "max"), (0.2, 0.5)
    ),
    "hard_swish": UnaryKind(_hard_swish, fused("add", "add", "max", "max", "add")),
    "inv_std": UnaryKind(_inv_std, UNARY["inv_std"], (1e-5,), range=(0.1, 2)),
    "is_inf": UnaryKind(functions.is_infinite, UNARY["is_finite"], None),
    "is_nan": UnaryKind(np.isnan, UNARY["is_nan"], None),
    "leaky_relu": UnaryKind(
        lambda x, alpha: np.where(x < 0, x * alpha, x), fused("add", "max"), (0.1,)
    ),
    "log": UnaryKind(np.log, UNARY["log"], range=(0.1, 9)),
    "mish": UnaryKind(_mish, fused("exp", "add", "log", "tanh", "add")),
    "neg": UnaryKind(np.negative, UNARY["neg"]),
    "not": UnaryKind(np.logical_not, UNARY["logical"], dtypes=_FLAGS),
    "reciprocal": UnaryKind(np.reciprocal, UNARY["inverse"], range=(0.1, 9)),
    "relu": UnaryKind(_relu, UNARY["relu"]),
    "round": UnaryKind(np.rint, UNARY["floor"], range=(-9, 9)),
    "scale": UnaryKind(lambda x, factor: x * factor, fused("add"), (0.25,)),
    "selu": UnaryKind(functions.selu, fused("exp", "add", "add", "max", "add"), (1.67, 1.05)),
    "shrink": UnaryKind(functions.shrink, fused("compare", "compare", "add", "add"), (0.25, 0.5)),
    "sigmoid": UnaryKind(functions.sigmoid, UNARY["sigmoid"]),
    "sign": UnaryKind(np.sign, fused("compare", "compare", "add")),
    "sin": UnaryKind(np.sin, _SINE),
    "sinh": UnaryKind(np.sinh, _HYPERBOLIC),
    "softplus": UnaryKind(functions.softplus, fused("exp", "add", "log")),
    "softsign": UnaryKind(lambda x: x / (1 + np.abs(x)), fused("abs", "add", "div")),
    "sqrt": UnaryKind(np.sqrt, UNARY["sqrt"], range=(0.1, 9)),
    "square": UnaryKind(np.square, UNARY["square"]),
    "swish": UnaryKind(
        lambda x, alpha: x * functions.sigmoid(x * alpha), fused("add", "sigmoid", "add"), (1.5,)
    ),
    "tan": UnaryKind(np.tan, _SINE),
    "tanh": UnaryKind(np.tanh, UNARY["tanh"]),
    "thresholded_relu": UnaryKind(
        lambda x, alpha: np.where(x > alpha, x, x.dtype.type(0)), fused("compare", "add"), (0.5,)
    ),
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

    def free_axes(self, windows: Mapping[str, Shape]) -> tuple[FreeAxis, ...]:
        """Every axis."""
        return pointwise(windows, ("x", "out"))

    def cycles(
        self, target: Target, windows: Mapping[str, tuple[Number, ...]], itemsize: int
    ) -> Number:
        """Cycles of one vertex."""
        loops = KINDS[self.op].loop
        cost, each = loops[0] if itemsize >= 4 else loops[1]
        per_worker = ceil_div(elements(windows["out"]), target.worker_contexts)
        base = 33 if self.op == "exp" else 17
        return target.worker_contexts * (base + ceil_div(per_worker, each) * cost) + 20

    def formula(self, target: Target, windows: Mapping[str, Shape], itemsize: int) -> str:
        """The formula of `cycles` with its numbers."""
        cost, each = KINDS[self.op].loop[0 if itemsize >= 4 else 1]
        workers, base = target.worker_contexts, 33 if self.op == "exp" else 17
        loop = f"ceil(ceil({elements(windows['out'])} / {workers}) / {each}) x {cost}"
        made = self.cycles(target, windows, itemsize)
        return f"{workers} x ({base} + {loop}) + 20 = {made:,}"

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """Each operation on a vector, and one on a block of halves."""
        vector = {"x": (5,), "out": (5,)}
        block = {"x": (2, 3), "out": (2, 3)}
        return (
            *(
                Example(
                    cls(op, kind.sample),
                    vector,
                    kind.dtypes,
                    {} if kind.range is None else {"x": kind.range},
                )
                for op, kind in KINDS.items()
                if kind.sample is not None
            ),
            Example(cls("tanh"), block, dict.fromkeys(block, "float16")),
        )
