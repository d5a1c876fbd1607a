"""Transpose."""

from __future__ import annotations

from typing import ClassVar

from ipuc.graph.ir import Node
from ipuc.ops.define import Op
from ipuc.planner.context import Context


class Transpose(Op):
    """Reorder the axes; reverse them if no `perm` is given. Source: ONNX Transpose-25."""

    name: ClassVar[str] = "Transpose"

    def lower(self, ctx: Context, node: Node) -> None:
        """A view."""
        x = ctx.tensor(node.inputs[0])
        rank = len(x.shape)
        order = node.attributes.get("perm") or range(rank)[::-1]
        ctx.define(node.outputs[0], x.transpose([int(a) % rank for a in order]))
