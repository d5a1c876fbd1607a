"""ReduceLogSumExp."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from ipuc.codelets.binary import BinaryOp
from ipuc.ops.define import Example
from ipuc.ops.reducing import Reduced, Reduction, unary
from ipuc.planner.context import Context
from ipuc.planner.elementwise import elementwise
from ipuc.planner.reduction import reduce
from ipuc.program.tensor import Tensor
from ipuc.types import TensorType

#: The greatest element is held to finite numbers, so that infinity - infinity never occurs.
_GREATEST = float(np.finfo(np.float32).max)


class ReduceLogSumExp(Reduction):
    """y = log(sum(exp(x))), taken relative to the greatest x. Source: ONNX ReduceLogSumExp-18."""

    name: ClassVar[str] = "ReduceLogSumExp"

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """Most of ONNX's tests are in float64: one axis in the middle, and all axes."""
        x = TensorType("float32", (3, 7, 5))
        return (Example((x, np.array([1]))), Example((x,), {"keepdims": 0}))

    def slope(self, made: Reduced) -> str:
        """Each element's share of the sum, e ** (x - y)."""
        write = made.write
        share = write.op("Exp", write.op("Sub", made.x, made.y))
        return write.mul(share, made.upstream)

    def combine(
        self, ctx: Context, x: Tensor, axes: Sequence[int], name: str, dtype: str
    ) -> Tensor:
        """max; x - max; exp; sum; log; + max."""
        most = reduce(ctx, "max", x, axes, f"{name} max", dtype="float32")
        most = unary(ctx, "clip", most, f"{name} max", "float32", (-_GREATEST, _GREATEST))
        less = elementwise(ctx, BinaryOp("sub"), {"a": x, "b": most}, "float32", f"{name} relative")
        powers = unary(ctx, "exp", less, f"{name} exp", "float32")
        total = reduce(ctx, "sum", powers, axes, f"{name} sum")
        log = unary(ctx, "log", total, f"{name} log", "float32")
        return elementwise(ctx, BinaryOp("add"), {"a": log, "b": most}, dtype, name)
