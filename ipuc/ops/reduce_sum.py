"""ReduceSum."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from ipuc.ops.reducing import Reduced, Reduction, plain
from ipuc.planner.context import Context
from ipuc.program.tensor import Tensor


class ReduceSum(Reduction):
    """y = the sum. Source: ONNX ReduceSum-13."""

    name: ClassVar[str] = "ReduceSum"

    def slope(self, made: Reduced) -> str:
        """The gradient of the sum, for each element."""
        return made.spread(made.upstream)

    def combine(
        self, ctx: Context, x: Tensor, axes: Sequence[int], name: str, dtype: str
    ) -> Tensor:
        """One reduction."""
        del dtype
        return plain(ctx, "sum", x, axes, name)
