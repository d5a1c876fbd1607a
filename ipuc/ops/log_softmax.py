"""LogSoftmax."""

from __future__ import annotations

from typing import ClassVar

from ipuc.graph.ir import Node
from ipuc.ops.binary import binary
from ipuc.ops.define import Op
from ipuc.ops.softmax import exponentials, softmax_axes
from ipuc.ops.unary import unary
from ipuc.planner.context import Context


class LogSoftmax(Op):
    """Y = x - ln(the sum of e ** x along an axis). Source: ONNX LogSoftmax-11, LogSoftmax-13."""

    name: ClassVar[str] = "LogSoftmax"

    def lower(self, ctx: Context, node: Node) -> None:
        """Greatest element, subtract, exp, sum, log, subtract (PopLibs popnn LogSoftmax.cpp)."""
        x, (output,) = ctx.tensor(node.inputs[0]), node.outputs
        axes = softmax_axes(node, len(x.shape))
        shifted, _, total = exponentials(ctx, x, axes, output, keep=True)
        total = unary(ctx, "log", total, f"{output} log")
        ctx.define(output, binary(ctx, "sub", shifted, total, output, x.dtype, over=("a",)))
