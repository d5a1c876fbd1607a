"""InstanceNormalization."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from ipuc.graph.ir import Node
from ipuc.ops.binary import binary
from ipuc.ops.define import Op
from ipuc.ops.normalising import (
    centred,
    inverse_deviation,
    mean_square,
    multiply_add,
    per_channel,
)
from ipuc.ops.normalising_back import Level, affine
from ipuc.ops.writer import GraphWriter
from ipuc.planner.context import Context


class InstanceNormalization(Op):
    """Y = scale * (x - mean) / sqrt(var + epsilon) + B, statistics of each instance and channel.

    Source: ONNX InstanceNormalization-22.
    """

    name: ClassVar[str] = "InstanceNormalization"

    def gradient(
        self, write: GraphWriter, node: Node, upstream: Sequence[str], wanted: Sequence[bool]
    ) -> Sequence[str]:
        """Through the statistics of each instance and channel."""
        x, *parameters = node.inputs
        shape = write.shape(x)
        axes = range(2, len(shape))
        level = Level(write, x, axes, float(node.attributes.get("epsilon", 1e-5)))
        broadcast = (shape[1], *(1 for _ in axes))
        return affine(level, upstream[0], parameters, wanted, broadcast)

    def lower(self, ctx: Context, node: Node) -> None:
        """Statistics along the spatial axes, then one multiply-add."""
        x, scale, shift = ctx.inputs(node)
        (output,) = node.outputs
        rank = len(x.shape)
        axes = range(2, rank)
        _, rest = centred(ctx, x, axes, output)
        variance = mean_square(ctx, rest, axes, output)
        epsilon = float(node.attributes.get("epsilon", 1e-5))
        inverse = inverse_deviation(ctx, variance, epsilon, output)
        factor = binary(ctx, "mul", inverse, per_channel(ctx, scale, rank), f"{output} scale")
        shift = per_channel(ctx, shift, rank)
        ctx.define(output, multiply_add(ctx, rest, factor, shift, output, x.dtype))
