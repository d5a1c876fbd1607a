"""Concat."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from ipuc.graph.ir import Node
from ipuc.ops.define import Op
from ipuc.ops.shaping import axis_of
from ipuc.ops.writer import GraphWriter
from ipuc.planner.context import Context
from ipuc.program.tensor import concat


class Concat(Op):
    """Join tensors along an axis. Source: ONNX Concat-13."""

    name: ClassVar[str] = "Concat"

    def gradient(
        self, write: GraphWriter, node: Node, upstream: Sequence[str], wanted: Sequence[bool]
    ) -> Sequence[str]:
        """Each input gets its part."""
        axis = axis_of(node, len(write.shape(node.inputs[0])), default=1)
        found: list[str] = []
        begin = 0
        for name, needed in zip(node.inputs, wanted, strict=True):
            end = begin + write.shape(name)[axis]
            found.append(write.part(upstream[0], axis, begin, end) if needed else "")
            begin = end
        return found

    def lower(self, ctx: Context, node: Node) -> None:
        """A view of all inputs."""
        tensors = ctx.inputs(node)
        axis = axis_of(node, len(tensors[0].shape), default=1)
        ctx.define(node.outputs[0], concat(tensors, axis))
