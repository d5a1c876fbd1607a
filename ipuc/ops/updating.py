"""What the steps of stochastic gradient descent have in common."""

from __future__ import annotations

from ipuc.graph.ir import Node
from ipuc.ops.binary import binary
from ipuc.ops.unary import unary
from ipuc.planner.context import Context
from ipuc.planner.scaled_add import scaled_add
from ipuc.program.tensor import Tensor


def fixed_rate(ctx: Context, node: Node) -> float | None:
    """The learning rate by the loss scale (the last input), if that is known."""
    scale = ctx.constant(node.inputs[-1])
    return None if scale is None else float(node.attributes["rate"]) / float(scale.item())


def scaled(
    ctx: Context, tensor: Tensor, factor: float, scale: str, name: str, dtype: str
) -> Tensor:
    """Multiply a tensor, which is read no more, by a number and the value of a loss scale."""
    known = ctx.constant(scale)
    if known is not None:
        return unary(ctx, "scale", tensor, name, factor * float(known.item()), dtype=dtype)
    made = unary(ctx, "scale", tensor, f"{name} mean", factor, over=("x",))
    by = ctx.builder.reshape(ctx.wide(scale), tuple(1 for _ in tensor.shape))
    return binary(ctx, "mul", made, by, name, dtype)


def descend(ctx: Context, node: Node, weight: Tensor, gradient: Tensor) -> None:
    """Take a step down a gradient, in place.

    Args:
        ctx: the lowering.
        node: has the rate, and as its last input the scale of the gradient.
        weight: the whole of a variable.
        gradient: of its shape, times the scale.
    """
    rate = fixed_rate(ctx, node)
    name = node.outputs[0]
    if rate is not None:
        scaled_add(ctx, weight, gradient, rate, name, subtract=True)
        return
    scale = ctx.builder.reshape(ctx.wide(node.inputs[-1]), (1,))
    by = ctx.scalar(float(node.attributes["rate"]), scale.dtype, (1,))
    quotient = binary(ctx, "div", by, scale, f"{name} rate")
    scaled_add(ctx, weight, gradient, quotient, name, subtract=True)
