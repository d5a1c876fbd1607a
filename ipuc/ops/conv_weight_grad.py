"""ConvWeightGrad: the gradient of a convolution's weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from ipuc.graph.ir import Node
from ipuc.ops.convolving import Convolution
from ipuc.ops.define import Example, Function
from ipuc.planner.context import Context
from ipuc.planner.convolution import convolve_weight_gradient
from ipuc.planner.worker.conv_weight_update import weight_gradient
from ipuc.types import TensorType


class ConvWeightGrad(Function):
    """The gradient of a convolution's weights: its data, convolved with its result's gradient.

    Images and channels change places, strides and dilations too. Attributes are the
    convolution's, padding in numbers. Where elements are left over at the end of the field, the
    convolution has positions beyond the kernel, which are cut off.
    Source: PopLibs poplin Convolution.cpp, calculateWeightDeltas.
    """

    name: ClassVar[str] = "ConvWeightGrad"
    outlined: ClassVar[bool] = True
    body: ClassVar[str] = """
        <domain: "ai.ipuc", opset_import: ["" : 18]>
        ConvWeightGrad <group, kernel_shape, strides, dilations, pads> (x, dy) => (dw) {
            same = Constant <value_ints = [0]> ()
            rest = Constant <value_ints = [-1]> ()
            rows = Constant <value_ints = [0, 0, -1]> ()
            number = Constant <value_int : int = @group> ()
            kernel = Constant <value_ints : ints = @kernel_shape> ()
            batch = Shape <start = 0, end = 1> (x)
            field = Shape <start = 2> (x)
            out = Shape <start = 2> (dy)
            groups = Reshape (number, rest)
            x_rows = Reshape (x, rows)
            row = Shape <start = 2> (x_rows)
            x_apart = Concat <axis = 0> (batch, groups, rest, row)
            x_groups = Reshape (x_rows, x_apart)
            x_turned = Transpose <perm = [2, 1, 0, 3]> (x_groups)
            x_shape = Concat <axis = 0> (same, rest, field)
            images = Reshape (x_turned, x_shape)
            dy_rows = Reshape (dy, rows)
            dy_turned = Transpose <perm = [1, 0, 2]> (dy_rows)
            dy_shape = Concat <axis = 0> (same, same, out)
            kernels = Reshape (dy_turned, dy_shape)
            sums = Conv <
                group : int = @group, strides : ints = @dilations, dilations : ints = @strides,
                pads : ints = @pads
            > (images, kernels)
            lead = Shape <start = 0, end = 2> (sums)
            ends = Concat <axis = 0> (lead, kernel)
            rank = Shape (ends)
            begins = ConstantOfShape <value = int64[1] {0}> (rank)
            whole = Slice (sums, begins, ends)
            dw_rows = Reshape (whole, rows)
            dw_turned = Transpose <perm = [1, 0, 2]> (dw_rows)
            dw_shape = Concat <axis = 0> (same, same, kernel)
            dw = Reshape (dw_turned, dw_shape)
        }
    """

    def infer(self, node: Node, types: Sequence[TensorType | None]) -> list[TensorType]:
        """Of the shape of the weights."""
        x, dy = types
        assert x is not None
        assert dy is not None
        ins = x.shape[1] // int(node.attributes["group"])
        kernel = tuple(int(k) for k in node.attributes["kernel_shape"])
        return [TensorType(dy.dtype, (dy.shape[1], ins, *kernel))]

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """Two groups, one dimension strided so that an element is left over; one dimension."""

        def kind(*shape: int) -> TensorType:
            return TensorType("float32", shape)

        plane = {
            "group": 2,
            "kernel_shape": [3, 2],
            "strides": [2, 1],
            "dilations": [1, 2],
            "pads": [1, 0, 0, 2],
        }
        row = {"group": 1, "kernel_shape": [3], "strides": [1], "dilations": [1], "pads": [2, 2]}
        return (
            Example((kind(2, 4, 7, 5), kind(2, 6, 3, 5)), plane),
            Example((kind(1, 4, 5), kind(1, 3, 7)), row),
        )

    def lower(self, ctx: Context, node: Node) -> None:
        """A convolution over the batch."""
        x, dy = ctx.inputs(node)
        (output,) = node.outputs
        shape = ctx.type(output).shape
        whole = Convolution.of(node, x.shape, shape, dy.shape)
        data, arriving = whole.apart_data(ctx, x), whole.apart_result(ctx, dy)
        plan = weight_gradient if ctx.granularity == "worker" else convolve_weight_gradient
        made = plan(ctx, whole.problem, data, arriving, output)
        ctx.define(output, ctx.builder.reshape(made, shape))
