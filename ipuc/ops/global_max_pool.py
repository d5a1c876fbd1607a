"""GlobalMaxPool."""

from __future__ import annotations

from typing import ClassVar

from ipuc.graph.ir import Node
from ipuc.ops.define import Op
from ipuc.ops.reducing import plain
from ipuc.planner.context import Context


class GlobalMaxPool(Op):
    """The greatest over all axes behind batch and channel. Source: ONNX GlobalMaxPool-22."""

    name: ClassVar[str] = "GlobalMaxPool"

    def lower(self, ctx: Context, node: Node) -> None:
        """One reduction."""
        x = ctx.tensor(node.inputs[0])
        (output,) = node.outputs
        axes = range(2, len(x.shape))
        made = plain(ctx, "max", x, axes, output)
        ctx.define(output, made)
