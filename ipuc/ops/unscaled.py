"""Unscaled: a gradient without the loss scale."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from ipuc.graph.ir import Node
from ipuc.ops.binary import binary
from ipuc.ops.define import Example, Function
from ipuc.planner.context import Context
from ipuc.types import TensorType


class Unscaled(Function):
    """gradient / scale, in float32: what the scale kept above the smallest half stays there.

    Source: our own.
    """

    name: ClassVar[str] = "Unscaled"
    body: ClassVar[str] = """
        <domain: "ai.ipuc", opset_import: ["" : 18]>
        Unscaled (gradient, scale) => (plain) {
            wide = Cast <to = 1> (gradient)
            quotient = Div (wide, scale)
            plain = CastLike (quotient, gradient)
        }
    """

    def infer(self, node: Node, types: Sequence[TensorType | None]) -> list[TensorType]:
        """Like the gradient."""
        del node
        assert types[0] is not None
        return [types[0]]

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """Any shape."""
        return (Example((TensorType("float32", (4, 3)), np.asarray(512.0, np.float32))),)

    def lower(self, ctx: Context, node: Node) -> None:
        """One division; the result is float32 where the graph says so, in layers of halves too."""
        (output,), gradient = node.outputs, ctx.tensor(node.inputs[0])
        scale = ctx.builder.reshape(ctx.wide(node.inputs[1]), tuple(1 for _ in gradient.shape))
        kind = ctx.type(output).dtype
        ctx.define(output, binary(ctx, "div", gradient, scale, output, kind), wide=True)
