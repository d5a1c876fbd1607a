"""What the unary elementwise operators have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from ipuc.codelets.unary import UnaryOp
from ipuc.graph.ir import Node
from ipuc.ops.define import Op
from ipuc.ops.terms import Term
from ipuc.ops.writer import GraphWriter
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


@dataclass(frozen=True, slots=True)
class Applied:
    """A unary operator in the forward graph, as its gradient needs it.

    Attributes:
        x: the operand.
        y: the result.
        dy: the gradient of the result.
        numbers: the operation's parameters.
    """

    x: Term
    y: Term
    dy: Term
    numbers: tuple[float, ...]


class SmoothUnary(UnaryElementwise):
    """A unary operator with a gradient: all but those that round, compare or count bits."""

    def gradient(
        self, write: GraphWriter, node: Node, upstream: Sequence[str], wanted: Sequence[bool]
    ) -> Sequence[str]:
        """That of the result, times the slope."""
        del wanted
        x, y, dy = (Term(write, name) for name in (node.inputs[0], node.outputs[0], upstream[0]))
        _, numbers = self.operation(node)
        return [self.slope(Applied(x, y, dy, numbers)).name]

    @abstractmethod
    def slope(self, made: Applied) -> Term:
        """Write the gradient of the operand."""
