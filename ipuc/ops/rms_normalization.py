"""RMSNormalization."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from ipuc.graph.ir import Node
from ipuc.ops.binary import binary
from ipuc.ops.define import Op
from ipuc.ops.normalising import inverse_deviation, mean_square
from ipuc.ops.normalising_back import Level, affine
from ipuc.ops.reducing import wide
from ipuc.ops.writer import GraphWriter
from ipuc.planner.context import Context


class RMSNormalization(Op):
    """Y = scale * x / sqrt(mean of x ** 2 + epsilon), along the axes from `axis` on.

    Source: ONNX RMSNormalization-23.
    """

    name: ClassVar[str] = "RMSNormalization"

    def gradient(
        self, write: GraphWriter, node: Node, upstream: Sequence[str], wanted: Sequence[bool]
    ) -> Sequence[str]:
        """Through the mean square."""
        x, *parameters = node.inputs
        rank = len(write.shape(x))
        axes = range(int(node.attributes.get("axis", -1)) % rank, rank)
        epsilon = float(node.attributes.get("epsilon", 1e-5))
        level = Level(write, x, axes, epsilon, centre=False)
        return affine(level, upstream[0], parameters, wanted)

    def lower(self, ctx: Context, node: Node) -> None:
        """Mean square along the last axes, then two multiplications."""
        x, scale = ctx.inputs(node)
        (output,) = node.outputs
        rank = len(x.shape)
        axes = range(int(node.attributes.get("axis", -1)) % rank, rank)
        square = mean_square(ctx, x, axes, output)
        epsilon = float(node.attributes.get("epsilon", 1e-5))
        inverse = inverse_deviation(ctx, square, epsilon, output)
        dtype = wide(x.dtype)
        level = binary(ctx, "mul", x, inverse, f"{output} normalised", dtype, over=("a",))
        ctx.define(output, binary(ctx, "mul", level, scale, output, x.dtype, over=("a",)))
