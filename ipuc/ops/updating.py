"""What the steps of stochastic gradient descent have in common."""

from __future__ import annotations

from ipuc.codelets.select import Select
from ipuc.graph.ir import Node
from ipuc.ops.binary import binary
from ipuc.ops.unary import unary
from ipuc.planner.context import Context
from ipuc.planner.elementwise import elementwise
from ipuc.planner.scaled_add import scaled_add
from ipuc.program.tensor import Tensor


def fixed_rate(ctx: Context, node: Node, scale_name: str = "") -> float | None:
    """The learning rate by the loss scale (the last input if not named), if that is known."""
    scale = ctx.constant(scale_name or node.inputs[-1])
    return None if scale is None else float(node.attributes["rate"]) / float(scale.item())


def inverse(ctx: Context, scale: str, name: str) -> Tensor:
    """1 by a loss scale: a scalar of float32."""
    known = ctx.constant(scale)
    if known is not None:
        return ctx.scalar(1.0 / float(known.item()), "float32")
    by = ctx.wide(scale)
    one = ctx.scalar(1.0, by.dtype)
    return ctx.builder.reshape(binary(ctx, "div", one, by, name), ())


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


def allowed(ctx: Context, gradient: Tensor, go: str, name: str) -> Tensor:
    """A gradient that is read no more, or zeros where a step must not happen (go is 0).

    It is chosen and not multiplied: 0 times infinity is no number.
    """
    known = ctx.constant(go)
    if known is not None and known.item() > 0:
        return gradient
    value = ctx.wide(go)
    flag = binary(ctx, "gt", value, ctx.scalar(0.0, value.dtype), f"{name} flag", "bool")
    operands = {
        "flag": ctx.builder.reshape(flag, tuple(1 for _ in gradient.shape)),
        "a": gradient,
        "b": ctx.scalar(0.0, gradient.dtype, gradient.shape),
    }
    return elementwise(ctx, Select(), operands, gradient.dtype, name, ("a",))


def descend(
    ctx: Context, node: Node, weight: Tensor, gradient: Tensor, scale_name: str = ""
) -> None:
    """Take a step down a gradient, in place.

    Args:
        ctx: the lowering.
        node: has the rate.
        weight: the whole of a variable.
        gradient: of its shape, times the scale.
        scale_name: scale of the gradient; the node's last input if empty.
    """
    given = scale_name or node.inputs[-1]
    rate = fixed_rate(ctx, node, given)
    name = node.outputs[0]
    if rate is not None:
        scaled_add(ctx, weight, gradient, rate, name, subtract=True)
        return
    scale = ctx.builder.reshape(ctx.wide(given), (1,))
    by = ctx.scalar(float(node.attributes["rate"]), scale.dtype, (1,))
    quotient = binary(ctx, "div", by, scale, f"{name} rate")
    scaled_add(ctx, weight, gradient, quotient, name, subtract=True)
