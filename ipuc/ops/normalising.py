"""What the normalising operators have in common."""

from __future__ import annotations

from collections.abc import Sequence

from ipuc.codelets.multiply_add import MultiplyAdd
from ipuc.ops.binary import binary
from ipuc.ops.reducing import mean, wide
from ipuc.ops.unary import unary
from ipuc.planner.context import Context
from ipuc.planner.elementwise import elementwise
from ipuc.planner.reduction import reduce
from ipuc.program.tensor import Tensor


def per_channel(ctx: Context, tensor: Tensor, rank: int) -> Tensor:
    """View parameters [C] so that they broadcast along axis 1 of a tensor of `rank` axes."""
    shape = (*tensor.shape, *(1 for _ in range(rank - 1 - len(tensor.shape))))
    return ctx.builder.reshape(tensor, shape if rank > 1 else (1,) * rank)


def centred(ctx: Context, x: Tensor, axes: Sequence[int], name: str) -> tuple[Tensor, Tensor]:
    """Mean along axes, and x without it, which may take its place; halves become float32."""
    middle = mean(ctx, x, axes, f"{name} mean", wide(x.dtype))
    rest = binary(ctx, "sub", x, middle, f"{name} centred", wide(x.dtype), over=("a",))
    return middle, rest


def mean_square(ctx: Context, x: Tensor, axes: Sequence[int], name: str) -> Tensor:
    """Mean of the squares along axes: the variance, if x is centred."""
    count = 1
    for axis in axes:
        count *= x.shape[axis]
    inner = wide(x.dtype)
    total = reduce(ctx, "sum", x, axes, f"{name} squares", square=True, dtype=inner)
    return unary(ctx, "scale", total, f"{name} variance", 1 / max(count, 1))


def inverse_deviation(ctx: Context, variance: Tensor, epsilon: float, name: str) -> Tensor:
    """1 / sqrt(variance + epsilon), in float32 for halves."""
    dtype = wide(variance.dtype)
    return unary(ctx, "inv_std", variance, f"{name} inverse deviation", epsilon, dtype=dtype)


def multiply_add(
    ctx: Context, x: Tensor, scale: Tensor, shift: Tensor, name: str, dtype: str
) -> Tensor:
    """Lower x * scale + shift, with broadcasting; the layer reads x no more."""
    operands = {"x": x, "scale": scale, "shift": shift}
    return elementwise(ctx, MultiplyAdd(), operands, dtype, name, ("x",))
