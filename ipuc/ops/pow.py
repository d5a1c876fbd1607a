"""Pow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from numpy.typing import NDArray

from ipuc.graph.ir import Node
from ipuc.ops.binary import binary
from ipuc.ops.define import Op
from ipuc.ops.terms import Term
from ipuc.ops.unary import unary
from ipuc.ops.writer import GraphWriter
from ipuc.planner.context import Context

#: Exponents for which a tile has a far cheaper operation than its power function.
_CHEAP = {2.0: "square", 0.5: "sqrt"}


class Pow(Op):
    """Z = X ** Y in the type of X, with broadcasting. Source: ONNX Pow-15."""

    name: ClassVar[str] = "Pow"

    def gradient(
        self, write: GraphWriter, node: Node, upstream: Sequence[str], wanted: Sequence[bool]
    ) -> Sequence[str]:
        """Y * x ** (y - 1), 0 where y is; and x ** y * ln x, 0 where x is."""
        x, y, z, dy = (Term(write, name) for name in (*node.inputs, *node.outputs, *upstream))
        made = ["", ""]
        if wanted[0]:
            slope = _slope(x, y, write.known(y.name))
            made[0] = (dy * slope).to(write.shape(x.name))
        if wanted[1]:
            logarithm = x.unless(x.equals(0), 1).op("Log")
            made[1] = (dy * (z * logarithm)).like(y).to(write.shape(y.name))
        return made

    def lower(self, ctx: Context, node: Node) -> None:
        """One compute set over the broadcast shape."""
        x, y = ctx.inputs(node)
        (output,) = node.outputs
        exponent = ctx.constant(node.inputs[1])
        scalar = exponent is not None and exponent.size == 1 and len(y.shape) <= len(x.shape)
        if exponent is not None and scalar and x.dtype.startswith("float"):
            cheap = _CHEAP.get(float(exponent.ravel()[0]))
            if cheap is not None:
                ctx.define(output, unary(ctx, cheap, x, output, over=("x",)))
                return
        ctx.define(output, binary(ctx, "pow", x, y, output, over=("a",)))


def _slope(x: Term, y: Term, known: NDArray[Any] | None) -> Term:
    """Y * x ** (y - 1); 0 where y is 0, even where x is."""
    if known is None or known.size != 1 or not known.any():
        y = y.like(x)
        return (y * x.op("Pow", y - 1)).unless(y.equals(0))
    number = float(known.ravel()[0])
    return (x if number == 2 else x.op("Pow", number - 1)) * number
