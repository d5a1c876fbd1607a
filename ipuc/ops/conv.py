"""Conv."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from ipuc.graph.ir import Node
from ipuc.ops.convolving import Convolution, convolution, outlined_convolution
from ipuc.ops.define import Op
from ipuc.ops.windowed import output_padding, written_out
from ipuc.ops.writer import GraphWriter
from ipuc.planner.context import Context
from ipuc.planner.outlined import Outline


class Conv(Op):
    """Y = X convolved with W, plus B per channel; 1-D and more, any groups, strides, dilations.

    Source: ONNX Conv-11.
    """

    name: ClassVar[str] = "Conv"
    outlined: ClassVar[bool] = True

    def gradient(
        self, write: GraphWriter, node: Node, upstream: Sequence[str], wanted: Sequence[bool]
    ) -> Sequence[str]:
        """Two convolutions, and for the bias a sum over all but channels."""
        (x, weights, *_), (dy,) = node.inputs, upstream
        shapes = [write.shape(value) for value in (x, weights, dy)]
        whole = Convolution.of(node, *shapes)
        slides = whole.problem.slides
        attributes: dict[str, Any] = {"group": whole.problem.groups, **written_out(slides)}
        made = [""] * len(node.inputs)
        if wanted[0]:
            more = output_padding(slides)
            made[0] = write.own("ConvDataGrad", dy, weights, output_padding=more, **attributes)
        if wanted[1]:
            kernel = list(shapes[1][2:])
            made[1] = write.own("ConvWeightGrad", x, dy, kernel_shape=kernel, **attributes)
        if any(wanted[2:]):
            axes = [0, *range(2, len(shapes[2]))]
            made[2] = write.reduced(dy, axes, keep=False)
        return made

    def lower(self, ctx: Context, node: Node) -> None:
        """Partial sums on the matrix unit, a reduction where channels are split, the bias."""
        (output,) = node.outputs
        ctx.define(
            output,
            convolution(ctx, Convolution.in_graph(ctx.graph, node), ctx.inputs(node), output),
        )

    def outline(self, ctx: Context, node: Node) -> Outline:
        """Convolutions of one problem are alike, however their nodes say it."""
        biased = len(node.inputs) > 2 and bool(node.inputs[2])
        whole, (output,) = Convolution.in_graph(ctx.graph, node), node.outputs
        return outlined_convolution(ctx, whole, lambda: ctx.inputs(node), output, biased=biased)
