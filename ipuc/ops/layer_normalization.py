"""LayerNormalization."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from ipuc.codelets.cast import Cast
from ipuc.graph.ir import Node
from ipuc.ops.binary import binary
from ipuc.ops.define import Op
from ipuc.ops.normalising import centred, inverse_deviation, mean_square, multiply_add
from ipuc.ops.normalising_back import Level, affine
from ipuc.ops.writer import GraphWriter
from ipuc.planner.context import Context
from ipuc.planner.elementwise import elementwise


class LayerNormalization(Op):
    """Y = scale * (x - mean) / sqrt(var + epsilon) + B, statistics along the axes from `axis` on.

    Source: ONNX LayerNormalization-17.
    """

    name: ClassVar[str] = "LayerNormalization"

    def gradient(
        self, write: GraphWriter, node: Node, upstream: Sequence[str], wanted: Sequence[bool]
    ) -> Sequence[str]:
        """Through both statistics, which may be outputs themselves."""
        x, *parameters = node.inputs
        rank = len(write.shape(x))
        axes = range(int(node.attributes.get("axis", -1)) % rank, rank)
        level = Level(write, x, axes, float(node.attributes.get("epsilon", 1e-5)))
        found = [""] * len(node.inputs)
        if upstream[0]:
            found = affine(level, upstream[0], parameters, wanted)
        parts = [found[0]] if found[0] else []
        statistics = (level.back_of_mean, level.back_of_inverse)
        for back, arrives in zip(statistics, upstream[1:], strict=False):
            if arrives and wanted[0]:
                parts.append(write.like(back(arrives), x))
        return [write.op("Sum", *parts) if len(parts) > 1 else "".join(parts), *found[1:]]

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
