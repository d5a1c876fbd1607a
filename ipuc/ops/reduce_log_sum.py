"""ReduceLogSum."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from ipuc.ops.reducing import Reduced, Reduction, unary, wide
from ipuc.planner.context import Context
from ipuc.planner.reduction import reduce
from ipuc.program.tensor import Tensor


class ReduceLogSum(Reduction):
    """y = the logarithm of the sum. Source: ONNX ReduceLogSum-18."""

    name: ClassVar[str] = "ReduceLogSum"

    def slope(self, made: Reduced) -> str:
        """1 / the sum for each element; y itself would be too coarse in halves."""
        total = made.write.reduced(made.x, made.axes)
        return made.spread(made.write.op("Div", made.upstream, total))

    def combine(
        self, ctx: Context, x: Tensor, axes: Sequence[int], name: str, dtype: str
    ) -> Tensor:
        """A sum, then its logarithm."""
        total = reduce(ctx, "sum", x, axes, f"{name} sum", dtype=wide(x.dtype))
        return unary(ctx, "log", total, name, dtype)
