"""ReduceMin."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from ipuc.ops.reducing import Reduced, Reduction, greatest_slope, plain
from ipuc.planner.context import Context
from ipuc.program.tensor import Tensor


class ReduceMin(Reduction):
    """y = the least element; for bools, whether all are true. Source: ONNX ReduceMin-20."""

    name: ClassVar[str] = "ReduceMin"

    def slope(self, made: Reduced) -> str:
        """The least element gets it; equal ones share it."""
        return greatest_slope(made)

    def combine(
        self, ctx: Context, x: Tensor, axes: Sequence[int], name: str, dtype: str
    ) -> Tensor:
        """One reduction."""
        del dtype
        return plain(ctx, "min", x, axes, name)
