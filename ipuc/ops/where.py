"""Where."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from ipuc.codelets.select import Select
from ipuc.graph.ir import Node
from ipuc.ops.define import Op
from ipuc.ops.terms import Term
from ipuc.ops.writer import GraphWriter
from ipuc.planner.context import Context
from ipuc.planner.elementwise import elementwise


class Where(Op):
    """Elements of X where the condition holds, else of Y, with broadcasting.

    Source: ONNX Where-16.
    """

    name: ClassVar[str] = "Where"

    def gradient(
        self, write: GraphWriter, node: Node, upstream: Sequence[str], wanted: Sequence[bool]
    ) -> Sequence[str]:
        """It passes to what was chosen, and is summed where that was broadcast."""
        flag, x, y = node.inputs
        condition, dy = Term(write, flag), Term(write, upstream[0])
        return [
            "",
            dy.where(condition).to(write.shape(x)) if wanted[1] else "",
            dy.unless(condition).to(write.shape(y)) if wanted[2] else "",
        ]

    def lower(self, ctx: Context, node: Node) -> None:
        """One compute set over the broadcast shape."""
        flag, x, y = ctx.inputs(node)
        (output,) = node.outputs
        operands = {"flag": flag, "a": x, "b": y}
        ctx.define(output, elementwise(ctx, Select(), operands, x.dtype, output, ("a",)))
