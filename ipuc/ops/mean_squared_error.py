"""MeanSquaredError: loss and its gradient at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from ipuc.errors import ShapeError
from ipuc.graph.ir import Node
from ipuc.ops.binary import binary
from ipuc.ops.define import Example, Function
from ipuc.ops.reducing import wide
from ipuc.ops.unary import unary
from ipuc.ops.updating import scaled
from ipuc.planner.context import Context
from ipuc.planner.reduction import reduce
from ipuc.types import TensorType


class MeanSquaredError(Function):
    """The mean of (y - labels)^2 over all elements, and scale times its gradient.

    Source: PyTorch MSELoss with the mean as reduction; gradient 2 (y - labels) / elements.
    """

    name: ClassVar[str] = "MeanSquaredError"
    body: ClassVar[str] = """
        <domain: "ai.ipuc", opset_import: ["" : 18]>
        MeanSquaredError (y, labels, scale) => (loss, delta) {
            off = Sub (y, labels)
            squares = Mul (off, off)
            loss = ReduceMean <keepdims = 0> (squares)
            two = Constant <value = float {2.0}> ()
            double = CastLike (two, y)
            size = Size (y)
            count = CastLike (size, y)
            factor = CastLike (scale, y)
            scaled = Mul (double, factor)
            each = Div (scaled, count)
            delta = Mul (off, each)
        }
    """

    def infer(self, node: Node, types: Sequence[TensorType | None]) -> list[TensorType]:
        """A scalar loss, and a gradient like y."""
        y, labels = types[0], types[1]
        assert y is not None
        assert labels is not None
        if y != labels:
            raise ShapeError(f"labels {labels} do not fit values {y}", where=node.where())
        kinds = [TensorType(y.dtype, ()), y]
        return [kind for kind, name in zip(kinds, node.outputs, strict=False) if name]

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """Any shape."""
        kind = TensorType("float32", (4, 3))
        return (Example((kind, kind, np.asarray(2.0, np.float32))),)

    def lower(self, ctx: Context, node: Node) -> None:
        """Difference, squares, sum; in float32 up to the gradient."""
        y, labels = (ctx.tensor(name) for name in node.inputs[:2])
        loss, delta = node.outputs
        off = binary(ctx, "sub", y, labels, f"{loss} off", wide(y.dtype))
        squares = binary(ctx, "mul", off, off, f"{loss} squares")
        summed = reduce(ctx, "sum", squares, list(range(len(y.shape))), f"{loss} summed")
        mean = unary(ctx, "scale", summed, loss, 1.0 / max(1, y.size))
        ctx.define(loss, ctx.builder.reshape(mean, ()), wide=True)
        each = 2.0 / max(1, y.size)
        ctx.define(delta, scaled(ctx, off, each, node.inputs[2], delta, y.dtype))
