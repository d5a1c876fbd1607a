"""GroupNormalization."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

from ipuc.graph.ir import Node
from ipuc.ops.binary import binary
from ipuc.ops.define import Op
from ipuc.ops.normalising import centred, inverse_deviation, mean_square, multiply_add
from ipuc.ops.normalising_back import Level, affine
from ipuc.ops.writer import GraphWriter
from ipuc.planner.context import Context
from ipuc.program.tensor import Tensor


class GroupNormalization(Op):
    """Y = scale * (x - mean) / sqrt(var + epsilon) + bias, statistics of groups of channels.

    Source: ONNX GroupNormalization-21 (the earlier one was withdrawn).
    """

    name: ClassVar[str] = "GroupNormalization"

    def gradient(
        self, write: GraphWriter, node: Node, upstream: Sequence[str], wanted: Sequence[bool]
    ) -> Sequence[str]:
        """Through the statistics of each group, seen as in the forward pass."""
        x, *parameters = node.inputs
        groups = int(node.attributes["num_groups"])
        shape, (extent,) = write.shape(x), write.shape(parameters[0])
        grouped = (shape[0], groups, shape[1] // groups, math.prod(shape[2:]))
        epsilon = float(node.attributes.get("epsilon", 1e-5))
        level = Level(write, x, (2, 3), epsilon, grouped)
        arrives = write.reshaped(upstream[0], grouped)
        broadcast = (groups, extent // groups, 1)
        made, *found = affine(level, arrives, parameters, wanted, broadcast)
        return [write.reshaped(made, shape) if made else "", *found]

    def lower(self, ctx: Context, node: Node) -> None:
        """View the groups as an axis of their own: [N, groups, channels, positions]."""
        x, scale, shift = ctx.inputs(node)
        (output,) = node.outputs
        groups = int(node.attributes["num_groups"])
        batch, channels, *spatial = x.shape
        positions = 1
        for extent in spatial:
            positions *= extent

        def spread(parameter: Tensor) -> Tensor:
            return ctx.builder.reshape(parameter, (groups, parameter.shape[0] // groups, 1))

        grouped = ctx.builder.reshape(x, (batch, groups, channels // groups, positions))
        _, rest = centred(ctx, grouped, (2, 3), output)
        variance = mean_square(ctx, rest, (2, 3), output)
        epsilon = float(node.attributes.get("epsilon", 1e-5))
        inverse = inverse_deviation(ctx, variance, epsilon, output)
        factor = binary(ctx, "mul", inverse, spread(scale), f"{output} scale")
        made = multiply_add(ctx, rest, factor, spread(shift), output, x.dtype)
        ctx.define(output, ctx.builder.reshape(made, x.shape))
