"""What the unary elementwise operators have in common."""

from __future__ import annotations

from typing import ClassVar

from ipuc.codelets.unary import UnaryOp
from ipuc.graph.ir import Node
from ipuc.ops.define import Op
from ipuc.planner.context import Context
from ipuc.planner.elementwise import elementwise
from ipuc.types import device_dtype


class UnaryElementwise(Op):
    """An operator that is one UnaryOp vertex type; `kind` is the codelet's operation."""

    kind: ClassVar[str]

    def lower(self, ctx: Context, node: Node) -> None:
        """One compute set over all elements."""
        (x,) = ctx.inputs(node)
        (output,) = node.outputs
        dtype = device_dtype(ctx.type(output).dtype, node.where())
        codelet = UnaryOp(self.kind, self.parameters(node))
        ctx.define(output, elementwise(ctx, codelet, {"x": x}, dtype, output))

    def parameters(self, node: Node) -> tuple[float, ...]:
        """Numbers that the operation takes from the node's attributes."""
        del node
        return ()
