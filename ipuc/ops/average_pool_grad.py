"""AveragePoolGrad: the gradient of an average pooling."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from ipuc.graph.ir import Node
from ipuc.ops.define import Example, Function
from ipuc.ops.windowed import field_of, slides_of
from ipuc.planner.context import Context
from ipuc.planner.pool_gradient import average_pool_gradient
from ipuc.types import TensorType


class AveragePoolGrad(Function):
    """The gradient of an average pooling: an equal share to every element of each window.

    Attributes are the pooling's, padding in numbers; output_padding has the elements at the end
    that no window reads. A window divides by its elements inside a region of extents `counted`,
    over whose begin and end windows reach by `counted_pads`.
    Source: PopLibs popnn Pooling.cpp, poolInputGradient; ONNX AveragePool-19.
    """

    name: ClassVar[str] = "AveragePoolGrad"
    body: ClassVar[str] = """
        <domain: "ai.ipuc", opset_import: ["" : 18]>
        AveragePoolGrad <
            kernel_shape, strides, dilations, pads, output_padding, counted, counted_pads
        > (dy) => (dx) {
            single = Constant <value_ints = [1, 1]> ()
            planes = Constant <value_ints = [-1, 1]> ()
            kernel = Constant <value_ints : ints = @kernel_shape> ()
            region = Constant <value_ints : ints = @counted> ()
            window_shape = Concat <axis = 0> (single, kernel)
            region_shape = Concat <axis = 0> (single, region)
            window = ConstantOfShape <value = float[1] {1.0}> (window_shape)
            ones = ConstantOfShape <value = float[1] {1.0}> (region_shape)
            found = Conv <
                strides : ints = @strides, dilations : ints = @dilations,
                pads : ints = @counted_pads
            > (ones, window)
            least = Constant <value = float {1.0}> ()
            counts = Max (found, least)
            divisors = CastLike (counts, dy)
            out = Shape <start = 2> (dy)
            apart = Concat <axis = 0> (planes, out)
            images = Reshape (dy, apart)
            shares = Div (images, divisors)
            weights = CastLike (window, dy)
            sums = ConvTranspose <
                strides : ints = @strides, dilations : ints = @dilations, pads : ints = @pads,
                output_padding : ints = @output_padding
            > (shares, weights)
            lead = Shape <start = 0, end = 2> (dy)
            field = Shape <start = 2> (sums)
            shape = Concat <axis = 0> (lead, field)
            dx = Reshape (sums, shape)
        }
    """

    def infer(self, node: Node, types: Sequence[TensorType | None]) -> list[TensorType]:
        """Of the shape of the pooling's input."""
        (dy,) = types
        assert dy is not None
        kernel = tuple(int(k) for k in node.attributes["kernel_shape"])
        field = field_of(node, dy.shape[2:], kernel)
        return [TensorType(dy.dtype, (*dy.shape[:2], *field))]

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """Padding that does not count, and some that does."""
        window = {
            "kernel_shape": [3, 2],
            "strides": [2, 1],
            "dilations": [1, 2],
            "pads": [1, 0, 0, 1],
            "output_padding": [1, 0],
        }
        kind = TensorType("float32", (2, 3, 2, 4))
        return (
            Example((kind,), {**window, "counted": [5, 5], "counted_pads": [1, 0, 0, 1]}),
            Example((kind,), {**window, "counted": [6, 5], "counted_pads": [0, 0, 0, 1]}),
        )

    def lower(self, ctx: Context, node: Node) -> None:
        """A vertex gathers shares."""
        (dy,) = ctx.inputs(node)
        (output,) = node.outputs
        kernel = tuple(int(k) for k in node.attributes["kernel_shape"])
        slides = slides_of(node, ctx.type(output).shape[2:], kernel, dy.shape[2:])
        # before the first element of the field, so many elements of the region lie
        before = [
            s.pad - int(over)
            for s, over in zip(slides, node.attributes["counted_pads"], strict=False)
        ]
        reaches = [int(n) - b for n, b in zip(node.attributes["counted"], before, strict=True)]
        ends = [
            None if b == 0 and end == s.field else end
            for s, b, end in zip(slides, before, reaches, strict=True)
        ]
        ctx.define(output, average_pool_gradient(ctx, dy, slides, output, ends=ends))
