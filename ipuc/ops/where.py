"""Where."""

from __future__ import annotations

from typing import ClassVar

from ipuc.codelets.select import Select
from ipuc.graph.ir import Node
from ipuc.ops.define import Op
from ipuc.planner.context import Context
from ipuc.planner.elementwise import elementwise


class Where(Op):
    """Elements of X where the condition holds, else of Y, with broadcasting.

    Source: ONNX Where-16.
    """

    name: ClassVar[str] = "Where"

    def lower(self, ctx: Context, node: Node) -> None:
        """One compute set over the broadcast shape."""
        flag, x, y = ctx.inputs(node)
        (output,) = node.outputs
        operands = {"flag": flag, "a": x, "b": y}
        ctx.define(output, elementwise(ctx, Select(), operands, x.dtype, output, ("a",)))
