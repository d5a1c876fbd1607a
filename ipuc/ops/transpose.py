"""Transpose."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from ipuc.graph.ir import Node
from ipuc.ops.define import Op
from ipuc.ops.writer import GraphWriter
from ipuc.planner.context import Context


class Transpose(Op):
    """Reorder the axes; reverse them if no `perm` is given. Source: ONNX Transpose-25."""

    name: ClassVar[str] = "Transpose"

    def gradient(
        self, write: GraphWriter, node: Node, upstream: Sequence[str], wanted: Sequence[bool]
    ) -> Sequence[str]:
        """The axes go back."""
        del wanted
        order = _order(node, len(write.shape(node.inputs[0])))
        return [write.transposed(upstream[0], sorted(range(len(order)), key=order.__getitem__))]

    def lower(self, ctx: Context, node: Node) -> None:
        """A view."""
        x = ctx.tensor(node.inputs[0])
        ctx.define(node.outputs[0], x.transpose(_order(node, len(x.shape))))


def _order(node: Node, rank: int) -> list[int]:
    """Axes of the input, in the order in which the output has them."""
    return [int(axis) % rank for axis in node.attributes.get("perm") or range(rank)[::-1]]
