"""LogSoftmax."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from ipuc.graph.ir import Node
from ipuc.ops.binary import binary
from ipuc.ops.define import Op
from ipuc.ops.softmax import exponentials, softmax_axes
from ipuc.ops.unary import unary
from ipuc.ops.writer import GraphWriter
from ipuc.planner.context import Context


class LogSoftmax(Op):
    """Y = x - ln(the sum of e ** x along an axis). Source: ONNX LogSoftmax-11, LogSoftmax-13."""

    name: ClassVar[str] = "LogSoftmax"

    def gradient(
        self, write: GraphWriter, node: Node, upstream: Sequence[str], wanted: Sequence[bool]
    ) -> Sequence[str]:
        """The sum of dy is shared out by e ** y, and taken from dy."""
        del wanted
        axes = softmax_axes(node, len(write.shape(node.inputs[0])))
        total = write.reduced(upstream[0], axes)
        share = write.mul(write.op("Exp", node.outputs[0]), total)
        return [write.op("Sub", upstream[0], share)]

    def lower(self, ctx: Context, node: Node) -> None:
        """Greatest element, subtract, exp, sum, log, subtract (PopLibs popnn LogSoftmax.cpp)."""
        x, (output,) = ctx.tensor(node.inputs[0]), node.outputs
        axes = softmax_axes(node, len(x.shape))
        shifted, _, total = exponentials(ctx, x, axes, output, keep=True)
        total = unary(ctx, "log", total, f"{output} log")
        ctx.define(output, binary(ctx, "sub", shifted, total, output, x.dtype, over=("a",)))
