"""Cast."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from ipuc.codelets.cast import Cast as CastCodelet
from ipuc.graph.ir import Graph, Node
from ipuc.ops.define import Op
from ipuc.ops.writer import GraphWriter
from ipuc.planner.context import Context
from ipuc.planner.elementwise import elementwise
from ipuc.types import DEVICE_DTYPES


def cast(ctx: Context, node: Node) -> None:
    """Convert the first input to the type of the output; a view if tiles carry both alike."""
    x, (output,) = ctx.tensor(node.inputs[0]), node.outputs
    to = ctx.dtype(output, node.where())
    if x.dtype != to:
        x = elementwise(ctx, CastCodelet(x.dtype, to), {"x": x}, to, output)
    ctx.define(output, x)


def refuse_type(node: Node, graph: Graph) -> str | None:
    """Say which of the two element types tiles do not carry."""
    for value in (node.inputs[0], node.outputs[0]):
        dtype = graph.types[value].dtype
        if dtype not in DEVICE_DTYPES:
            return f"tiles carry no {dtype} elements"
    return None


class Cast(Op):
    """Convert to the element type `to`. Source: ONNX Cast-13."""

    name: ClassVar[str] = "Cast"

    def refuse(self, node: Node, graph: Graph) -> str | None:
        """Types that tiles do not carry."""
        return refuse_type(node, graph)

    def gradient(
        self, write: GraphWriter, node: Node, upstream: Sequence[str], wanted: Sequence[bool]
    ) -> Sequence[str]:
        """It is converted back."""
        del wanted
        return [write.like(upstream[0], node.inputs[0])]

    def lower(self, ctx: Context, node: Node) -> None:
        """One compute set, or a view."""
        cast(ctx, node)
