"""BatchNormalization."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ipuc.graph.ir import Graph, Node
from ipuc.ops.binary import binary
from ipuc.ops.define import Op
from ipuc.ops.normalising import (
    centred,
    inverse_deviation,
    mean_square,
    multiply_add,
    per_channel,
)
from ipuc.ops.reducing import wide
from ipuc.ops.unary import unary
from ipuc.planner.context import Context
from ipuc.program.tensor import Tensor

#: A known scale and shift, or tensors.
Pair = tuple[Tensor, Tensor]


class BatchNormalization(Op):
    """Y = scale * (x - mean) / sqrt(var + epsilon) + B for each channel.

    With training_mode=1 mean and variance are those of the batch, and the running ones move
    towards them. Source: ONNX BatchNormalization-7, -9, -14, -15.
    """

    name: ClassVar[str] = "BatchNormalization"

    def refuse(self, node: Node, graph: Graph) -> str | None:
        """Outputs of the training form before operator set 14, whose meaning was left open."""
        del graph
        if node.opset < 14 and any(node.outputs[1:]):
            return "statistics as outputs need operator set 14 and training_mode=1"
        return None

    def lower(self, ctx: Context, node: Node) -> None:
        """One multiply-add over the input; the rest is work on channels."""
        if node.opset >= 14 and node.attributes.get("training_mode", 0):
            _train(ctx, node)
            return
        x = ctx.tensor(node.inputs[0])
        scale, shift = _known(ctx, node) or _computed(ctx, node)
        rank = len(x.shape)
        scale, shift = per_channel(ctx, scale, rank), per_channel(ctx, shift, rank)
        output = node.outputs[0]
        ctx.define(output, multiply_add(ctx, x, scale, shift, output, x.dtype))


def _epsilon(node: Node) -> float:
    return float(node.attributes.get("epsilon", 1e-5))


def _known(ctx: Context, node: Node) -> Pair | None:
    """Scale and shift from parameters that are known at compile time."""
    known: list[NDArray[Any]] = []
    for name in node.inputs[1:5]:
        array = ctx.constant(name)
        if array is None:
            return None
        known.append(np.asarray(array, np.float64))
    gamma, beta, mean, variance = known
    scale = gamma / np.sqrt(variance + _epsilon(node))
    shift = beta - mean * scale
    output = node.outputs[0]
    return (
        ctx.builder.constant(f"{output} scale", scale.astype(np.float32)),
        ctx.builder.constant(f"{output} shift", shift.astype(np.float32)),
    )


def _computed(ctx: Context, node: Node) -> Pair:
    """Scale and shift from parameters that are data."""
    gamma, beta, mean, variance = (ctx.tensor(name) for name in node.inputs[1:5])
    output = node.outputs[0]
    inverse = inverse_deviation(ctx, variance, _epsilon(node), output)
    scale = binary(ctx, "mul", inverse, gamma, f"{output} scale")
    moved = binary(ctx, "mul", scale, mean, f"{output} moved mean")
    return scale, binary(ctx, "sub", beta, moved, f"{output} shift", scale.dtype)


def _train(ctx: Context, node: Node) -> None:
    x, gamma, beta, mean, variance = (ctx.tensor(name) for name in node.inputs[:5])
    output, rank = node.outputs[0], len(x.shape)
    axes = [axis for axis in range(rank) if axis != 1]
    batch_mean, rest = centred(ctx, x, axes, output)
    batch_variance = mean_square(ctx, rest, axes, output)
    inverse = inverse_deviation(ctx, batch_variance, _epsilon(node), output)
    scale = binary(ctx, "mul", inverse, per_channel(ctx, gamma, rank), f"{output} scale")
    shift = per_channel(ctx, beta, rank)
    ctx.define(output, multiply_add(ctx, rest, scale, shift, output, x.dtype))
    momentum = float(node.attributes.get("momentum", 0.9))
    pairs = ((mean, batch_mean), (variance, batch_variance))
    for name, (old, new) in zip(node.outputs[1:3], pairs, strict=False):
        if name:
            kept = unary(ctx, "scale", old, f"{name} kept", momentum, dtype=wide(old.dtype))
            flat = ctx.builder.reshape(new, old.shape)
            added = unary(ctx, "scale", flat, f"{name} added", 1 - momentum)
            ctx.define(name, binary(ctx, "add", kept, added, name, old.dtype))
