"""Pow."""

from __future__ import annotations

from typing import ClassVar

from ipuc.graph.ir import Node
from ipuc.ops.binary import binary
from ipuc.ops.define import Op
from ipuc.ops.unary import unary
from ipuc.planner.context import Context

#: Exponents for which a tile has a far cheaper operation than its power function.
_CHEAP = {2.0: "square", 0.5: "sqrt"}


class Pow(Op):
    """Z = X ** Y in the type of X, with broadcasting. Source: ONNX Pow-15."""

    name: ClassVar[str] = "Pow"

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
