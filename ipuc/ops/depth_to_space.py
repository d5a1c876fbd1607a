"""DepthToSpace."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from ipuc.graph.ir import Node
from ipuc.ops.define import Op
from ipuc.ops.writer import GraphWriter
from ipuc.planner.context import Context


class DepthToSpace(Op):
    """Move blocks of channels to blocks of pixels.

    Channels number (block row, block column, channel) in mode DCR, (channel, block row, block
    column) in mode CRD. Source: ONNX DepthToSpace-13.
    """

    name: ClassVar[str] = "DepthToSpace"

    def gradient(
        self, write: GraphWriter, node: Node, upstream: Sequence[str], wanted: Sequence[bool]
    ) -> Sequence[str]:
        """The channels go back; SpaceToDepth does it in one mode only."""
        del wanted
        b = int(node.attributes["blocksize"])
        if node.attributes.get("mode", "DCR") != "CRD":
            return [write.op("SpaceToDepth", upstream[0], blocksize=b)]
        n, c, h, w = shape = write.shape(node.inputs[0])
        split = write.reshaped(upstream[0], (n, c // (b * b), h, b, w, b))
        return [write.reshaped(write.transposed(split, [0, 1, 3, 5, 2, 4]), shape)]

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
