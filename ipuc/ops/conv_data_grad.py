"""ConvDataGrad: the gradient of a convolution's data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from ipuc.graph.ir import Node
from ipuc.ops.convolving import Convolution, convolution, outlined_convolution
from ipuc.ops.define import Example, Function
from ipuc.ops.windowed import field_of
from ipuc.planner.context import Context
from ipuc.planner.outlined import Outline
from ipuc.planner.poplin.cost import Pass
from ipuc.program.tensor import Tensor, fill
from ipuc.types import TensorType


class ConvDataGrad(Function):
    """The gradient of a convolution's data: that of its result, convolved with turned weights.

    Attributes are the convolution's, padding in numbers; output_padding has the elements at the
    end that no window reads. Source: ONNX ConvTranspose-11.
    """

    name: ClassVar[str] = "ConvDataGrad"
    outlined: ClassVar[bool] = True
    body: ClassVar[str] = """
        <domain: "ai.ipuc", opset_import: ["" : 18]>
        ConvDataGrad <group, strides, dilations, pads, output_padding> (dy, w) => (dx) {
            dx = ConvTranspose <
                group : int = @group, strides : ints = @strides, dilations : ints = @dilations,
                pads : ints = @pads, output_padding : ints = @output_padding
            > (dy, w)
        }
    """

    def infer(self, node: Node, types: Sequence[TensorType | None]) -> list[TensorType]:
        """Of the shape of the data."""
        dy, weights = types
        assert dy is not None
        assert weights is not None
        field = field_of(node, dy.shape[2:], weights.shape[2:])
        channels = weights.shape[1] * int(node.attributes["group"])
        return [TensorType(dy.dtype, (dy.shape[0], channels, *field))]

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """Two groups, one dimension strided so that an element is left over; one dimension."""

        def kind(*shape: int) -> TensorType:
            return TensorType("float32", shape)

        plane = {
            "group": 2,
            "strides": [2, 1],
            "dilations": [1, 2],
            "pads": [1, 0, 0, 2],
            "output_padding": [1, 0],
        }
        row = {"group": 1, "strides": [1], "dilations": [1], "pads": [2, 2], "output_padding": [0]}
        return (
            Example((kind(2, 6, 3, 5), kind(6, 2, 3, 2)), plane),
            Example((kind(1, 3, 7), kind(3, 4, 3)), row),
        )

    def lower(self, ctx: Context, node: Node) -> None:
        """A convolution; a strided layer's multiplies no zeros."""
        dy, weights = ctx.inputs(node)
        (output,) = node.outputs
        whole = _forward(ctx, node)
        turned = whole.turned(ctx, weights)
        ctx.define(output, convolution(ctx, whole.backward(), (dy, turned), output, Pass.DATA))

    def outline(self, ctx: Context, node: Node) -> Outline:
        """It is a convolution like any other, and may be one that runs forward too.

        If such a one has a bias, and granularity is `worker`, where all have, this one's is 0.
        """
        (output,), (dy, weights) = node.outputs, node.inputs
        forward = _forward(ctx, node)
        whole = forward.backward()
        biased = ctx.granularity == "worker" and whole.runs_with_bias(ctx.graph)

        def operands() -> list[Tensor]:
            made = [ctx.tensor(dy), forward.turned(ctx, ctx.tensor(weights))]
            return [*made, fill(0.0, whole.weights[:1], made[0].dtype)] if biased else made

        return outlined_convolution(ctx, whole, operands, output, Pass.DATA, biased=biased)


def _forward(ctx: Context, node: Node) -> Convolution:
    """The convolution of which this is the gradient."""
    dy, weights = node.inputs
    return Convolution.of(
        node, *(ctx.type(value).shape for value in (node.outputs[0], weights, dy))
    )
