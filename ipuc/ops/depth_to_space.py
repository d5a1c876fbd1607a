"""DepthToSpace."""

from __future__ import annotations

from typing import ClassVar

from ipuc.graph.ir import Node
from ipuc.ops.define import Op
from ipuc.planner.context import Context


class DepthToSpace(Op):
    """Move blocks of channels to blocks of pixels.

    Channels number (block row, block column, channel) in mode DCR, (channel, block row, block
    column) in mode CRD. Source: ONNX DepthToSpace-13.
    """

    name: ClassVar[str] = "DepthToSpace"

    def lower(self, ctx: Context, node: Node) -> None:
        """Split the channels, turn, merge: a view."""
        x = ctx.tensor(node.inputs[0])
        n, c, h, w = x.shape
        b = int(node.attributes["blocksize"])
        depth = c // (b * b)
        name = node.outputs[0]
        if node.attributes.get("mode", "DCR") == "CRD":
            split = ctx.builder.reshape(x, (n, depth, b, b, h, w), name)
            turned = split.transpose([0, 1, 4, 2, 5, 3])
        else:
            split = ctx.builder.reshape(x, (n, b, b, depth, h, w), name)
            turned = split.transpose([0, 3, 4, 1, 5, 2])
        ctx.define(name, ctx.builder.reshape(turned, (n, depth, h * b, w * b), name))
