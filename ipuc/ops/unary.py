"""What the unary elementwise operators have in common."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import ClassVar

from ipuc.codelets.unary import UnaryOp
from ipuc.graph.ir import Node
from ipuc.ops.define import Op
from ipuc.planner.context import Context
from ipuc.planner.elementwise import elementwise
from ipuc.program.tensor import Tensor


def unary(
    ctx: Context,
    kind: str,
    x: Tensor,
    name: str,
    *numbers: float,
    dtype: str | None = None,
    over: Iterable[str] = (),
) -> Tensor:
    """Apply a UnaryOp; the result has the operand's type unless `dtype` says otherwise.

    `over` is that of `elementwise`; the operand is field "x".
    """
    return elementwise(ctx, UnaryOp(kind, numbers), {"x": x}, dtype or x.dtype, name, over)


class UnaryElementwise(Op):
    """An operator that is one UnaryOp vertex type.

    Class attributes:
        kind: the codelet's operation.
        numbers: attributes that become its parameters, in order, with their defaults.
    """

    kind: ClassVar[str]
    numbers: ClassVar[Mapping[str, float]] = {}

    def lower(self, ctx: Context, node: Node) -> None:
        """One compute set over all elements."""
        (x,) = ctx.inputs(node)
        (output,) = node.outputs
        dtype = ctx.dtype(output, node.where())
        kind, numbers = self.operation(node)
        ctx.define(output, unary(ctx, kind, x, output, *numbers, dtype=dtype, over=("x",)))

    def operation(self, node: Node) -> tuple[str, tuple[float, ...]]:
        """The codelet's operation and its parameters, by the node's attributes."""
        given = node.attributes
        return self.kind, tuple(float(given.get(n, v)) for n, v in self.numbers.items())
