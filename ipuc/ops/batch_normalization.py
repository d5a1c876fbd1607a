"""BatchNormalization."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ipuc.graph.bodies import DOMAIN
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
from ipuc.ops.normalising_back import Level, affine, inverse_root
from ipuc.ops.reducing import wide
from ipuc.ops.unary import unary
from ipuc.ops.writer import GraphWriter
from ipuc.planner.context import Context
from ipuc.planner.state import is_read
from ipuc.program.tensor import Tensor
from ipuc.types import Shape

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

    def gradient(
        self, write: GraphWriter, node: Node, upstream: Sequence[str], wanted: Sequence[bool]
    ) -> Sequence[str]:
        """Through the statistics of the batch in training, else through those given.

        The running statistics that training gives are no function that one trains: no gradient
        passes through them, as in PyTorch.
        """
        if not upstream[0]:
            return [""] * len(node.inputs)
        if not _trains(node):
            return _given_back(write, node, upstream[0], wanted)
        x, scale, shift = node.inputs[:3]
        epsilon = _epsilon(node)
        if wanted[0]:
            operands = (x, scale, upstream[0])
            made = write.ops(
                "BatchNormGrad", *operands, names=[""] * 3, domain=DOMAIN, epsilon=epsilon
            )
            return [*made, "", ""]
        rank = len(write.shape(x))
        level = Level(write, x, [axis for axis in range(rank) if axis != 1], epsilon)
        channels = _channels(write, x, scale)
        return [*affine(level, upstream[0], (scale, shift), wanted[:3], channels), "", ""]

    def lower(self, ctx: Context, node: Node) -> None:
        """One multiply-add over the input; the rest is work on channels."""
        if _trains(node):
            _train(ctx, node)
            return
        x = ctx.tensor(node.inputs[0])
        scale, shift = _known(ctx, node) or _computed(ctx, node)
        rank = len(x.shape)
        scale, shift = per_channel(ctx, scale, rank), per_channel(ctx, shift, rank)
        output = node.outputs[0]
        ctx.define(output, multiply_add(ctx, x, scale, shift, output, x.dtype))


def _trains(node: Node) -> bool:
    return node.opset >= 14 and bool(node.attributes.get("training_mode", 0))


def _channels(write: GraphWriter, x: str, scale: str) -> Shape:
    """Shape under which the parameters meet x."""
    rank, shape = len(write.shape(x)), write.shape(scale)
    return (*shape, *(1 for _ in range(rank - 1 - len(shape)))) if rank > 1 else (1,)


def _given_back(write: GraphWriter, node: Node, upstream: str, wanted: Sequence[bool]) -> list[str]:
    """Gradients of y = (x - mean) * inverse * scale + shift, the statistics being operands."""
    x, scale, _, middle, variance = node.inputs
    channels, arrived = _channels(write, x, scale), write.wide(upstream)
    extent = write.shape(scale)
    inverse = (
        inverse_root(write, write.wide(variance), _epsilon(node))
        if any((wanted[0], wanted[1], wanted[3], wanted[4]))
        else ""
    )
    found = [""] * 5
    if wanted[2] or wanted[3]:
        total = write.reshaped(write.sum_to(arrived, channels), extent)
    if wanted[1] or wanted[4]:
        rest = write.op("Sub", write.wide(x), write.reshaped(write.wide(middle), channels))
        moment = write.reshaped(write.sum_to(write.mul(arrived, rest), channels), extent)
        slope = write.mul(moment, inverse)
    if wanted[0] or wanted[3] or wanted[4]:
        factor = write.mul(write.wide(scale), inverse)
    if wanted[0]:
        found[0] = write.mul(arrived, write.reshaped(factor, channels))
    if wanted[1]:
        found[1] = slope
    if wanted[2]:
        found[2] = total
    if wanted[3]:
        found[3] = write.op("Neg", write.mul(total, factor))
    if wanted[4]:
        square = write.mul(inverse, write.mul(factor, slope))
        found[4] = write.scaled(square, -0.5)
    return [
        write.like(made, name) if made else ""
        for made, name in zip(found, node.inputs, strict=True)
    ]


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
        if name and is_read(ctx, name):
            kept = unary(ctx, "scale", old, f"{name} kept", momentum, dtype=wide(old.dtype))
            flat = ctx.builder.reshape(new, old.shape)
            added = unary(ctx, "scale", flat, f"{name} added", 1 - momentum)
            ctx.define(name, binary(ctx, "add", kept, added, name, old.dtype))
