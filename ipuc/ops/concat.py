"""Concat."""

from __future__ import annotations

from typing import ClassVar

from ipuc.graph.ir import Node
from ipuc.ops.define import Op
from ipuc.ops.shaping import axis_of
from ipuc.planner.context import Context
from ipuc.program.tensor import concat


class Concat(Op):
    """Join tensors along an axis. Source: ONNX Concat-13."""

    name: ClassVar[str] = "Concat"

    def lower(self, ctx: Context, node: Node) -> None:
        """A view of all inputs."""
        tensors = ctx.inputs(node)
        axis = axis_of(node, len(tensors[0].shape), default=1)
        ctx.define(node.outputs[0], concat(tensors, axis))
