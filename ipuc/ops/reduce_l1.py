"""ReduceL1."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from ipuc.ops.reducing import Reduced, Reduction, norm, norm_slope
from ipuc.planner.context import Context
from ipuc.program.tensor import Tensor


class ReduceL1(Reduction):
    """y = the sum of |x|. Source: ONNX ReduceL1-18."""

    name: ClassVar[str] = "ReduceL1"

    def slope(self, made: Reduced) -> str:
        """The sign of x for each element; 0 at 0."""
        return norm_slope(made, 1)

    def combine(
        self, ctx: Context, x: Tensor, axes: Sequence[int], name: str, dtype: str
    ) -> Tensor:
        """Magnitudes, then their sum."""
        return norm(ctx, x, axes, 1, name, dtype)
