"""ReduceSumSquare."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from ipuc.ops.reducing import Reduced, Reduction
from ipuc.planner.context import Context
from ipuc.planner.reduction import reduce
from ipuc.program.tensor import Tensor


class ReduceSumSquare(Reduction):
    """y = the sum of squares. Source: ONNX ReduceSumSquare-18."""

    name: ClassVar[str] = "ReduceSumSquare"

    def slope(self, made: Reduced) -> str:
        """2 * x for each element."""
        return made.write.mul(made.x, made.write.scaled(made.upstream, 2))

    def combine(
        self, ctx: Context, x: Tensor, axes: Sequence[int], name: str, dtype: str
    ) -> Tensor:
        """One reduction that squares what it reads."""
        return reduce(ctx, "sum", x, axes, name, square=True, dtype=dtype)
