"""BatchNormGrad: the gradient of BatchNormalization in training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

from ipuc.errors import ShapeError
from ipuc.graph.ir import Node
from ipuc.ops.binary import binary
from ipuc.ops.define import Example, Function
from ipuc.ops.normalising import (
    centred,
    inverse_deviation,
    mean_square,
    multiply_add,
    per_channel,
)
from ipuc.ops.unary import unary
from ipuc.planner.context import Context
from ipuc.planner.reduction import reduce
from ipuc.program.tensor import Tensor
from ipuc.types import TensorType


class BatchNormGrad(Function):
    """Gradients of y = scale * xn + bias; xn is x, less its mean, over its deviation.

    dbias is the sum of dy, dscale that of xn * dy, and dx = scale / deviation * (dy - mean of dy -
    xn * mean of xn * dy), with the statistics of each channel (axis 1) over a batch.

    Source: PopLibs popnn BatchNorm.cpp, batchNormParamGradients and batchNormGradients, where what
    meets a channel is collected in one factor.
    """

    name: ClassVar[str] = "BatchNormGrad"
    body: ClassVar[str] = """
        <domain: "ai.ipuc", opset_import: ["" : 18]>
        BatchNormGrad <epsilon> (x, scale, dy) => (dx, dscale, dbias) {
            rows = Constant <value_ints = [0, 0, -1]> ()
            axes = Constant <value_ints = [0, 2]> ()
            wide_x = Cast <to = 1> (x)
            wide_dy = Cast <to = 1> (dy)
            wide_scale = Cast <to = 1> (scale)
            rows_x = Reshape (wide_x, rows)
            rows_dy = Reshape (wide_dy, rows)
            middle = ReduceMean <keepdims = 1> (rows_x, axes)
            rest = Sub (rows_x, middle)
            square = Mul (rest, rest)
            variance = ReduceMean <keepdims = 1> (square, axes)
            small = Constant <value_float : float = @epsilon> ()
            moved = Add (variance, small)
            deviation = Sqrt (moved)
            normal = Div (rest, deviation)
            product = Mul (normal, rows_dy)
            of_product = ReduceMean <keepdims = 1> (product, axes)
            of_dy = ReduceMean <keepdims = 1> (rows_dy, axes)
            share = Mul (normal, of_product)
            less = Sub (rows_dy, of_dy)
            left = Sub (less, share)
            column = Constant <value_ints = [1, -1, 1]> ()
            gamma = Reshape (wide_scale, column)
            factor = Div (gamma, deviation)
            rows_dx = Mul (left, factor)
            shape = Shape (x)
            wide_dx = Reshape (rows_dx, shape)
            dx = CastLike (wide_dx, x)
            sum_product = ReduceSum <keepdims = 0> (product, axes)
            dscale = CastLike (sum_product, scale)
            sum_dy = ReduceSum <keepdims = 0> (rows_dy, axes)
            dbias = CastLike (sum_dy, scale)
        }
    """

    def infer(self, node: Node, types: Sequence[TensorType | None]) -> list[TensorType]:
        """Gradients have the types of what they belong to."""
        x, scale, upstream = types
        assert x is not None
        assert scale is not None
        assert upstream is not None
        if len(x.shape) < 2 or scale.shape != x.shape[1:2] or upstream.shape != x.shape:
            raise ShapeError(
                f"{x} with gradient {upstream} has no channels of scale {scale}", where=node.where()
            )
        return [x, scale, scale]

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """Images, and rows of features."""
        images, rows = TensorType("float32", (2, 3, 5, 4)), TensorType("float32", (7, 4))
        channels = (TensorType("float32", (3,)), TensorType("float32", (4,)))
        return (
            Example((images, channels[0], images), {"epsilon": 1e-5}),
            Example((rows, channels[1], rows), {"epsilon": 1e-3}),
        )

    def lower(self, ctx: Context, node: Node) -> None:
        """Statistics, two sums over each channel, and two multiply-adds over the batch."""
        x, scale, upstream = ctx.inputs(node)
        output, rank = node.outputs[0], len(x.shape)
        axes = [axis for axis in range(rank) if axis != 1]
        count = max(math.prod(x.shape[axis] for axis in axes), 1)
        _, rest = centred(ctx, x, axes, output)
        variance = mean_square(ctx, rest, axes, output)
        inverse = inverse_deviation(ctx, variance, float(node.attributes["epsilon"]), output)
        normal = binary(ctx, "mul", rest, inverse, f"{output} normalised", over=("a",))
        product = binary(ctx, "mul", normal, upstream, f"{output} product")
        totals = [
            reduce(ctx, "sum", each, axes, f"{output} {name}", dtype=normal.dtype)
            for each, name in ((product, "product sum"), (upstream, "sum"))
        ]
        factor = binary(ctx, "mul", inverse, per_channel(ctx, scale, rank), f"{output} scale")
        slope, shift = (self._share(ctx, factor, total, count, output) for total in totals)
        less = multiply_add(ctx, normal, slope, shift, f"{output} means", normal.dtype)
        ctx.define(output, multiply_add(ctx, upstream, factor, less, output, x.dtype))
        for name, total in zip(node.outputs[1:], totals, strict=True):
            dtype = ctx.dtype(name, node.where())
            vector = ctx.builder.reshape(total, scale.shape, name)
            ctx.define(name, vector if vector.dtype == dtype else ctx.cast(vector, dtype, name))

    @staticmethod
    def _share(ctx: Context, factor: Tensor, total: Tensor, count: int, name: str) -> Tensor:
        """What a sum takes from each element: - factor * total / count."""
        mean = unary(ctx, "scale", total, f"{name} mean", -1 / count)
        return binary(ctx, "mul", factor, mean, f"{name} share")
