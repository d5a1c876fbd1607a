"""ReduceL2."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from ipuc.ops.reducing import Reduced, Reduction, norm, norm_slope
from ipuc.planner.context import Context
from ipuc.program.tensor import Tensor


class ReduceL2(Reduction):
    """y = the root of the sum of squares. Source: ONNX ReduceL2-18."""

    name: ClassVar[str] = "ReduceL2"

    def slope(self, made: Reduced) -> str:
        """X / y for each element; 0 where the norm is 0."""
        return norm_slope(made, 2)

    def combine(
        self, ctx: Context, x: Tensor, axes: Sequence[int], name: str, dtype: str
    ) -> Tensor:
        """A sum of squares, then its root."""
        return norm(ctx, x, axes, 2, name, dtype)
