"""Expand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from ipuc.graph.ir import Node
from ipuc.ops.define import Op
from ipuc.ops.writer import GraphWriter
from ipuc.planner.context import Context


class Expand(Op):
    """Broadcast to a shape, both ways as NumPy does. Source: ONNX Expand-13."""

    name: ClassVar[str] = "Expand"
    shape_inputs: ClassVar[tuple[int, ...]] = (1,)

    def gradient(
        self, write: GraphWriter, node: Node, upstream: Sequence[str], wanted: Sequence[bool]
    ) -> Sequence[str]:
        """Gradients of all copies, added."""
        del wanted
        return [write.sum_to(upstream[0], write.shape(node.inputs[0])), ""]

    def lower(self, ctx: Context, node: Node) -> None:
        """A view: repeated axes have stride 0."""
        (output,) = node.outputs
        ctx.define(output, ctx.tensor(node.inputs[0]).expand(ctx.type(output).shape))
