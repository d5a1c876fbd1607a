"""CastLike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from ipuc.graph.ir import Graph, Node
from ipuc.ops.cast import cast, refuse_type
from ipuc.ops.define import Op
from ipuc.ops.writer import GraphWriter
from ipuc.planner.context import Context


class CastLike(Op):
    """Convert to the element type of the second input. Source: ONNX CastLike-15."""

    name: ClassVar[str] = "CastLike"

    def refuse(self, node: Node, graph: Graph) -> str | None:
        """Types that tiles do not carry."""
        return refuse_type(node, graph)

    def gradient(
        self, write: GraphWriter, node: Node, upstream: Sequence[str], wanted: Sequence[bool]
    ) -> Sequence[str]:
        """It is converted back; of the second input only the type counts."""
        del wanted
        return [write.like(upstream[0], node.inputs[0]), ""]

    def lower(self, ctx: Context, node: Node) -> None:
        """One compute set, or a view."""
        cast(ctx, node)
