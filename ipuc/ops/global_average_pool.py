"""GlobalAveragePool."""

from __future__ import annotations

from typing import ClassVar

from ipuc.graph.ir import Node
from ipuc.ops.define import Op
from ipuc.ops.reducing import mean
from ipuc.planner.context import Context


class GlobalAveragePool(Op):
    """The mean over all axes behind batch and channel. Source: ONNX GlobalAveragePool-22."""

    name: ClassVar[str] = "GlobalAveragePool"

    def lower(self, ctx: Context, node: Node) -> None:
        """A sum, scaled."""
        x = ctx.tensor(node.inputs[0])
        (output,) = node.outputs
        axes = range(2, len(x.shape))
        made = mean(ctx, x, axes, output, x.dtype)
        ctx.define(output, made)
