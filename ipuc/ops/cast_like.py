"""CastLike."""

from __future__ import annotations

from typing import ClassVar

from ipuc.graph.ir import Graph, Node
from ipuc.ops.cast import cast, refuse_type
from ipuc.ops.define import Op
from ipuc.planner.context import Context


class CastLike(Op):
    """Convert to the element type of the second input. Source: ONNX CastLike-15."""

    name: ClassVar[str] = "CastLike"

    def refuse(self, node: Node, graph: Graph) -> str | None:
        """Types that tiles do not carry."""
        return refuse_type(node, graph)

    def lower(self, ctx: Context, node: Node) -> None:
        """One compute set, or a view."""
        cast(ctx, node)
