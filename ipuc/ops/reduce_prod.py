"""ReduceProd."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from ipuc.ops.reducing import Reduced, Reduction, plain
from ipuc.planner.context import Context
from ipuc.program.tensor import Tensor


class ReduceProd(Reduction):
    """y = the product. Source: ONNX ReduceProd-18."""

    name: ClassVar[str] = "ReduceProd"

    def slope(self, made: Reduced) -> str:
        """The product of all other elements, whether or not some are 0."""
        write, x, axes = made.write, made.x, made.axes
        none = write.op("Equal", x, write.scalar(0, x))
        rest = write.op("Where", none, write.scalar(1, x), x)
        product = rest
        if axes:
            product = write.op("ReduceProd", rest, write.integers(axes), keepdims=1)
        # Where another element is 0, so is the product of the others.
        empty = write.like(none, x)
        alone = write.op("Equal", write.reduced(empty, axes), empty)
        others = write.op("Where", alone, write.op("Div", product, rest), write.scalar(0, x))
        return write.mul(others, made.upstream)

    def combine(
        self, ctx: Context, x: Tensor, axes: Sequence[int], name: str, dtype: str
    ) -> Tensor:
        """One reduction."""
        del dtype
        return plain(ctx, "prod", x, axes, name)
