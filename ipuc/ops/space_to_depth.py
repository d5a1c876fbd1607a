"""SpaceToDepth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from ipuc.graph.ir import Node
from ipuc.ops.define import Op
from ipuc.ops.writer import GraphWriter
from ipuc.planner.context import Context


class SpaceToDepth(Op):
    """Move blocks of pixels to blocks of channels.

    Channels become (block row, block column, channel) in mode DCR, (channel, block row, block
    column) in mode CRD. Source: ONNX SpaceToDepth-28; operator sets before 28 know DCR only.
    """

    name: ClassVar[str] = "SpaceToDepth"

    def gradient(
        self, write: GraphWriter, node: Node, upstream: Sequence[str], wanted: Sequence[bool]
    ) -> Sequence[str]:
        """DepthToSpace moves the pixels back."""
        del wanted
        size, mode = int(node.attributes["blocksize"]), node.attributes.get("mode")
        return [write.op("DepthToSpace", upstream[0], blocksize=size, mode=mode)]

    def lower(self, ctx: Context, node: Node) -> None:
        """Split both spatial axes, turn, merge: a view."""
        x = ctx.tensor(node.inputs[0])
        n, c, h, w = x.shape
        b = int(node.attributes["blocksize"])
        name = node.outputs[0]
        split = ctx.builder.reshape(x, (n, c, h // b, b, w // b, b), name)
        crd = node.attributes.get("mode", "DCR") == "CRD"
        turned = split.transpose([0, 1, 3, 5, 2, 4] if crd else [0, 3, 5, 1, 2, 4])
        ctx.define(name, ctx.builder.reshape(turned, (n, c * b * b, h // b, w // b), name))
