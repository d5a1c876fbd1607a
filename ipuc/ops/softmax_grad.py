"""SoftmaxGrad: the gradient of Softmax."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from ipuc.graph.ir import Node
from ipuc.ops.binary import binary
from ipuc.ops.define import Example, Function
from ipuc.ops.reducing import wide
from ipuc.planner.context import Context
from ipuc.planner.reduction import reduce
from ipuc.types import TensorType


class SoftmaxGrad(Function):
    """dx = y * dy - y * the sum of y * dy along the axes that Softmax normalises together.

    Source: PopLibs popnn NonLinearity.cpp, softmaxInputGradient.
    """

    name: ClassVar[str] = "SoftmaxGrad"
    body: ClassVar[str] = """
        <domain: "ai.ipuc", opset_import: ["" : 18]>
        SoftmaxGrad <axes> (y, dy) => (dx) {
            both = Mul (y, dy)
            along = Constant <value_ints : ints = @axes> ()
            total = ReduceSum <keepdims = 1, noop_with_empty_axes = 1> (both, along)
            share = Mul (y, total)
            dx = Sub (both, share)
        }
    """

    def infer(self, node: Node, types: Sequence[TensorType | None]) -> list[TensorType]:
        """The gradient has the type of what it belongs to."""
        del node
        (_, upstream) = types
        assert upstream is not None
        return [upstream]

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """One axis, and two."""
        kind = TensorType("float32", (3, 5, 4))
        return (Example((kind, kind), {"axes": [1]}), Example((kind, kind), {"axes": [1, 2]}))

    def lower(self, ctx: Context, node: Node) -> None:
        """Multiply, add up, multiply, subtract; halves are rounded once, in the result."""
        y, upstream = ctx.inputs(node)
        (output,) = node.outputs
        inner = wide(y.dtype)
        axes = [int(axis) for axis in node.attributes["axes"]]
        both = binary(ctx, "mul", y, upstream, f"{output} product", inner)
        total = reduce(ctx, "sum", both, axes, f"{output} sum")
        share = binary(ctx, "mul", y, total, f"{output} share", inner)
        ctx.define(output, binary(ctx, "sub", both, share, output, y.dtype, over=("a",)))
