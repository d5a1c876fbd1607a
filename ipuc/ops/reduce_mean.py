"""ReduceMean."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from ipuc.ops.reducing import Reduced, Reduction, mean
from ipuc.planner.context import Context
from ipuc.program.tensor import Tensor


class ReduceMean(Reduction):
    """y = the mean. Source: ONNX ReduceMean-18."""

    name: ClassVar[str] = "ReduceMean"

    def slope(self, made: Reduced) -> str:
        """The gradient of the mean, shared out."""
        return made.spread(made.write.scaled(made.upstream, 1 / made.count))

    def combine(
        self, ctx: Context, x: Tensor, axes: Sequence[int], name: str, dtype: str
    ) -> Tensor:
        """A sum, scaled."""
        return mean(ctx, x, axes, name, dtype)
