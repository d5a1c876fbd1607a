"""What gradients of elementwise operators are written in: values of a graph that can be calculated.

`dy * (1 - y * y)` writes the nodes that compute it.
"""

from __future__ import annotations

from dataclasses import dataclass

from ipuc.ops.writer import GraphWriter
from ipuc.types import Shape


@dataclass(frozen=True, slots=True, eq=False)
class Term:
    """A value of a graph; calculating with it appends standard nodes, with broadcasting.

    Attributes:
        write: takes the nodes.
        name: of the value. Numbers that meet it become constants of its element type.
    """

    write: GraphWriter
    name: str

    def __add__(self, other: Term | float) -> Term:
        return self.op("Add", other)

    __radd__ = __add__

    def __sub__(self, other: Term | float) -> Term:
        return self.op("Sub", other)

    def __rsub__(self, number: float) -> Term:
        return self._term(number).op("Sub", self)

    def __mul__(self, other: Term | float) -> Term:
        return self if other == 1 else self.op("Mul", other)

    __rmul__ = __mul__

    def __truediv__(self, other: Term | float) -> Term:
        return self.op("Div", other)

    def __rtruediv__(self, number: float) -> Term:
        return self._term(number).op("Div", self)

    def __neg__(self) -> Term:
        return self.op("Neg")

    def __lt__(self, other: Term | float) -> Term:
        return self.op("Less", other)

    def __le__(self, other: Term | float) -> Term:
        return self.op("LessOrEqual", other)

    def __gt__(self, other: Term | float) -> Term:
        return self.op("Greater", other)

    def __ge__(self, other: Term | float) -> Term:
        return self.op("GreaterOrEqual", other)

    def __and__(self, other: Term) -> Term:
        return self.op("And", other)

    def __or__(self, other: Term) -> Term:
        return self.op("Or", other)

    def equals(self, other: Term | float) -> Term:
        """Whether elements are the same."""
        return self.op("Equal", other)

    def op(self, op: str, *others: Term | float) -> Term:
        """The result of a standard operator of one output, of which this is the first input."""
        given = [self._term(one).name for one in others]
        return Term(self.write, self.write.op(op, self.name, *given))

    def where(self, condition: Term, otherwise: Term | float = 0.0) -> Term:
        """This where a condition holds; something else where it does not."""
        made = self.write.op("Where", condition.name, self.name, self._term(otherwise).name)
        return Term(self.write, made)

    def unless(self, condition: Term, otherwise: float = 0.0) -> Term:
        """This where a condition does not hold; a number where it does."""
        return self._term(otherwise).where(condition, self)

    def like(self, other: Term) -> Term:
        """In the element type of another value."""
        return Term(self.write, self.write.like(self.name, other.name))

    def to(self, shape: Shape) -> str:
        """The value's name, after a sum over the axes along which that shape was broadcast."""
        return self.write.sum_to(self.name, shape)

    def _term(self, other: Term | float) -> Term:
        if isinstance(other, Term):
            return other
        return Term(self.write, self.write.scalar(other, self.name))
