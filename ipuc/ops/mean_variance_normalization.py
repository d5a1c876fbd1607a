"""MeanVarianceNormalization."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from ipuc.graph.ir import Node
from ipuc.ops.binary import binary
from ipuc.ops.define import Op
from ipuc.ops.normalising import centred, inverse_deviation, mean_square
from ipuc.ops.normalising_back import Level
from ipuc.ops.writer import GraphWriter
from ipuc.planner.context import Context

#: Added to the deviation, so that constant data become 0. Source: ONNX's function body.
_EPSILON = 1e-9


class MeanVarianceNormalization(Op):
    """Y = (x - mean) / deviation along `axes`. Source: ONNX MeanVarianceNormalization-13."""

    name: ClassVar[str] = "MeanVarianceNormalization"

    def gradient(
        self, write: GraphWriter, node: Node, upstream: Sequence[str], wanted: Sequence[bool]
    ) -> Sequence[str]:
        """Through both statistics."""
        del wanted
        (x,) = node.inputs
        level = Level(write, x, _axes(node, len(write.shape(x))), _EPSILON**2)
        return [write.like(level.back(write.wide(upstream[0])), x)]

    def lower(self, ctx: Context, node: Node) -> None:
        """Statistics along the axes, then one multiplication."""
        x, (output,) = ctx.tensor(node.inputs[0]), node.outputs
        axes = _axes(node, len(x.shape))
        _, rest = centred(ctx, x, axes, output)
        variance = mean_square(ctx, rest, axes, output)
        inverse = inverse_deviation(ctx, variance, _EPSILON**2, output)
        ctx.define(output, binary(ctx, "mul", rest, inverse, output, x.dtype, over=("a",)))


def _axes(node: Node, rank: int) -> list[int]:
    return [int(axis) % rank for axis in node.attributes.get("axes", (0, 2, 3))]
