"""Conv."""

from __future__ import annotations

from typing import ClassVar

from ipuc.codelets.binary import BinaryOp
from ipuc.graph.ir import Node
from ipuc.ops.define import Op
from ipuc.ops.windowed import slides_of
from ipuc.planner.context import Context
from ipuc.planner.conv_problem import Conv as Problem
from ipuc.planner.convolution import convolve
from ipuc.planner.elementwise import elementwise


class Conv(Op):
    """Y = X convolved with W, plus B per channel; 1-D and more, any groups, strides, dilations.

    Source: ONNX Conv-11.
    """

    name: ClassVar[str] = "Conv"

    def lower(self, ctx: Context, node: Node) -> None:
        """Partial sums on the matrix unit, a reduction where channels are split, the bias."""
        x, weights, *bias = ctx.inputs(node)
        (output,) = node.outputs
        kind = ctx.type(output)
        groups = int(node.attributes.get("group", 1))
        outs, ins, *kernel = weights.shape
        slides = slides_of(node, x.shape[2:], tuple(kernel), kind.shape[2:])
        problem = Problem(kind.shape[0], groups, outs // groups, ins, slides)
        builder = ctx.builder
        x = builder.reshape(x, (x.shape[0], groups, ins, *x.shape[2:]))
        weights = builder.reshape(weights, (groups, outs // groups, ins, *kernel))
        label = f"{output} sums" if bias else output
        made = builder.reshape(convolve(ctx, problem, x, weights, label), kind.shape)
        if bias:
            column = builder.reshape(bias[0], (outs, *(1 for _ in kernel)))
            made = elementwise(ctx, BinaryOp("add"), {"a": made, "b": column}, made.dtype, output)
        ctx.define(output, made)
