"""ReduceMax."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from ipuc.ops.reducing import Reduced, Reduction, greatest_slope, plain
from ipuc.planner.context import Context
from ipuc.program.tensor import Tensor


class ReduceMax(Reduction):
    """y = the greatest element; for bools, whether any is true. Source: ONNX ReduceMax-20."""

    name: ClassVar[str] = "ReduceMax"

    def slope(self, made: Reduced) -> str:
        """The greatest element gets it; equal ones share it."""
        return greatest_slope(made)

    def combine(
        self, ctx: Context, x: Tensor, axes: Sequence[int], name: str, dtype: str
    ) -> Tensor:
        """One reduction."""
        del dtype
        return plain(ctx, "max", x, axes, name)
