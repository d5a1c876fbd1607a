"""MeanVarianceNormalization."""

from __future__ import annotations

from typing import ClassVar

from ipuc.graph.ir import Node
from ipuc.ops.binary import binary
from ipuc.ops.define import Op
from ipuc.ops.normalising import centred, inverse_deviation, mean_square
from ipuc.planner.context import Context

#: Added to the deviation, so that constant data become 0. Source: ONNX's function body.
_EPSILON = 1e-9


class MeanVarianceNormalization(Op):
    """Y = (x - mean) / deviation along `axes`. Source: ONNX MeanVarianceNormalization-13."""

    name: ClassVar[str] = "MeanVarianceNormalization"

    def lower(self, ctx: Context, node: Node) -> None:
        """Statistics along the axes, then one multiplication."""
        x, (output,) = ctx.tensor(node.inputs[0]), node.outputs
        axes = [int(a) % len(x.shape) for a in node.attributes.get("axes", (0, 2, 3))]
        _, rest = centred(ctx, x, axes, output)
        variance = mean_square(ctx, rest, axes, output)
        inverse = inverse_deviation(ctx, variance, _EPSILON**2, output)
        ctx.define(output, binary(ctx, "mul", rest, inverse, output, x.dtype, over=("a",)))
