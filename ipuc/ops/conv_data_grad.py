"""ConvDataGrad: the gradient of a convolution's data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from ipuc.graph.ir import Node
from ipuc.ops.convolving import Convolution
from ipuc.ops.define import Example, Function
from ipuc.ops.windowed import field_of
from ipuc.planner.context import Context
from ipuc.planner.convolution import convolve_data_gradient
from ipuc.types import TensorType


class ConvDataGrad(Function):
    """The gradient of a convolution's data: that of its result, convolved with turned weights.

    Attributes are the convolution's, padding in numbers; output_padding has the elements at the
    end that no window reads. Source: ONNX ConvTranspose-11.
    """

    name: ClassVar[str] = "ConvDataGrad"
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
        shape = ctx.type(output).shape
        whole = Convolution.of(node, shape, weights.shape, dy.shape)
        arriving, kernels = whole.apart_result(ctx, dy), whole.apart_weights(ctx, weights)
        made = convolve_data_gradient(ctx, whole.problem, arriving, kernels, output)
        ctx.define(output, ctx.builder.reshape(made, shape))
