"""Expand."""

from __future__ import annotations

from typing import ClassVar

from ipuc.graph.ir import Node
from ipuc.ops.define import Op
from ipuc.planner.context import Context


class Expand(Op):
    """Broadcast to a shape, both ways as NumPy does. Source: ONNX Expand-13."""

    name: ClassVar[str] = "Expand"
    shape_inputs: ClassVar[tuple[int, ...]] = (1,)

    def lower(self, ctx: Context, node: Node) -> None:
        """A view: repeated axes have stride 0."""
        (output,) = node.outputs
        ctx.define(output, ctx.tensor(node.inputs[0]).expand(ctx.type(output).shape))
