"""What the binary elementwise operators have in common."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from ipuc.codelets.binary import BinaryOp
from ipuc.graph.ir import Node
from ipuc.ops.define import Op
from ipuc.planner.context import Context
from ipuc.planner.elementwise import elementwise
from ipuc.program.tensor import Tensor


def binary(
    ctx: Context,
    kind: str,
    a: Tensor,
    b: Tensor,
    name: str,
    dtype: str | None = None,
    *,
    over: Iterable[str] = (),
) -> Tensor:
    """Apply a BinaryOp, with broadcasting; the result's type is a's unless given.

    `over` is that of `elementwise`; the operands are fields "a" and "b".
    """
    codelet = BinaryOp(kind, integer=not a.dtype.startswith(("float", "bool")))
    return elementwise(ctx, codelet, {"a": a, "b": b}, dtype or a.dtype, name, over)


class BinaryElementwise(Op):
    """An operator that is one BinaryOp vertex type; `kind` is the codelet's operation."""

    kind: ClassVar[str]

    def lower(self, ctx: Context, node: Node) -> None:
        """One compute set over the broadcast shape."""
        a, b = ctx.inputs(node)
        (output,) = node.outputs
        dtype = ctx.dtype(output, node.where())
        made = binary(ctx, self.operation(node), a, b, output, dtype, over=("a", "b"))
        ctx.define(output, made)

    def operation(self, node: Node) -> str:
        """The codelet's operation, by the node's attributes."""
        del node
        return self.kind
