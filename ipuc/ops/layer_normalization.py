"""LayerNormalization."""

from __future__ import annotations

from typing import ClassVar

from ipuc.codelets.cast import Cast
from ipuc.graph.ir import Node
from ipuc.ops.binary import binary
from ipuc.ops.define import Op
from ipuc.ops.normalising import centred, inverse_deviation, mean_square, multiply_add
from ipuc.planner.context import Context
from ipuc.planner.elementwise import elementwise


class LayerNormalization(Op):
    """Y = scale * (x - mean) / sqrt(var + epsilon) + B, statistics along the axes from `axis` on.

    Source: ONNX LayerNormalization-17.
    """

    name: ClassVar[str] = "LayerNormalization"

    def lower(self, ctx: Context, node: Node) -> None:
        """Statistics along the last axes, then multiplications and an addition."""
        x, scale = ctx.tensor(node.inputs[0]), ctx.tensor(node.inputs[1])
        output, rank = node.outputs[0], len(x.shape)
        axes = range(int(node.attributes.get("axis", -1)) % rank, rank)
        mean, rest = centred(ctx, x, axes, output)
        variance = mean_square(ctx, rest, axes, output)
        epsilon = float(node.attributes.get("epsilon", 1e-5))
        inverse = inverse_deviation(ctx, variance, epsilon, output)
        shift = node.inputs[2] if len(node.inputs) > 2 else ""
        level = binary(ctx, "mul", rest, inverse, f"{output} normalised", over=("a",))
        if shift:
            made = multiply_add(ctx, level, scale, ctx.tensor(shift), output, x.dtype)
        else:
            made = binary(ctx, "mul", level, scale, output, x.dtype, over=("a",))
        ctx.define(output, made)
        for name, tensor in zip(node.outputs[1:], (mean, inverse), strict=False):
            if name:
                dtype = ctx.dtype(name)
                if tensor.dtype != dtype:
                    cast = Cast(tensor.dtype, dtype)
                    tensor = elementwise(ctx, cast, {"x": tensor}, dtype, name)  # noqa: PLW2901
                ctx.define(name, tensor)
