"""What the binary elementwise operators have in common."""

from __future__ import annotations

from typing import ClassVar

from ipuc.codelets.binary import BinaryOp
from ipuc.graph.ir import Node
from ipuc.ops.define import Op
from ipuc.planner.context import Context
from ipuc.planner.elementwise import elementwise
from ipuc.types import device_dtype


class BinaryElementwise(Op):
    """An operator that is one BinaryOp vertex type; `kind` is the codelet's operation."""

    kind: ClassVar[str]

    def lower(self, ctx: Context, node: Node) -> None:
        """One compute set over the broadcast shape."""
        a, b = ctx.inputs(node)
        (output,) = node.outputs
        dtype = device_dtype(ctx.type(output).dtype, node.where())
        made = elementwise(ctx, BinaryOp(self.kind), {"a": a, "b": b}, dtype, output)
        ctx.define(output, made)
