"""How activations lie at granularity `worker`: groups of channels innermost, [N][C/g][y][x][g].

Source: PopLibs, winter 2016/17: activations are cut into groups of channels, which a layer's plan
chooses, and spread over the tiles a group of one pixel at a time.
"""

from __future__ import annotations

import math

from ipuc.planner.context import Context
from ipuc.program.tensor import Factor, Tensor, View, coalesce
from ipuc.types import Shape

#: Channels that may lie together, the most first.
GROUPS = (16, 8, 4, 2, 1)


def fitting_group(channels: int, wanted: int) -> int:
    """The largest group that is no larger than wanted, a part of it, and fills all channels."""
    return math.gcd(channels, wanted)


def grouped(ctx: Context, name: str, dtype: str, shape: Shape, group: int) -> Tensor:
    """Add a variable of activations in groups of channels, spread over the tiles.

    Args:
        ctx: the lowering.
        name: of the variable.
        dtype: element type.
        shape: [batch, channels, *field] of the view that is returned.
        group: channels that lie together; a divisor of the channels.

    Returns:
        A view of the variable, whose device order is [batch][channels / group][*field][group].
    """
    batch, channels, *field = shape
    lies = (batch, channels // group, *field, group)
    variable = ctx.builder.variable(name, dtype, lies)
    spread(ctx, variable, group)
    # the channels are (outer, inner): [batch, outer, inner, *field]
    turned = variable.transpose((0, 1, len(lies) - 1, *range(2, len(lies) - 1)))
    made = turned.reshape(shape)
    assert made is not None  # merging axes is a view
    return made


def spread(ctx: Context, variable: Tensor, unit: int) -> None:
    """Map a whole variable over the tiles in order, in units that stay together.

    Every tile gets ceil(units / tiles), so the last may get fewer, or some none.
    """
    units = -(-variable.size // unit)
    if units:
        each = -(-units // ctx.target.tiles)
        starts = range(0, variable.size, each * unit)
        ctx.builder.map(variable, list(starts), range(len(starts)))


def group_of(tensor: Tensor) -> int | None:
    """Channels that lie together in a tensor [batch, channels, *field], up to 16.

    Returns:
        The largest group g for which the elements lie one after another in the order
        [batch][channels / g][*field][g]; 1 for row-major; None if there is none.
    """
    if len(tensor.shape) < 2 or not tensor.size:
        return None
    fits = (g for g in GROUPS if tensor.shape[1] % g == 0)
    return next((g for g in fits if _run(by_groups(tensor, g)) is not None), None)


def by_groups(tensor: Tensor, group: int) -> Tensor:
    """View [batch, channels, *field] as [batch, channels / group, *field, group].

    The tensor must be one view whose channels split so, or a view of several pieces that do.
    """
    batch, channels, *field = tensor.shape
    split = tensor.reshape((batch, channels // group, group, *field))
    if split is None:
        return Tensor((0,), tensor.dtype, ())
    return split.transpose((0, 1, *range(3, len(split.shape)), 2))


def device_order(tensor: Tensor) -> Tensor | None:
    """View a tensor as one row, in the order in which its elements lie.

    Tensors of one shape and one layout have their elements in the same order then, so that work
    on elements can be cut into runs. See `layout`.

    Returns:
        [size]; None if the elements do not lie one after another, each once.
    """
    view = tensor.view()
    if view is None or not tensor.size:
        return None
    factors = sorted(_factors(view), key=lambda factor: -factor[1])
    if coalesce(tuple(factors)) not in ((), ((tensor.size, 1),)):
        return None
    axes = ((coalesce(tuple(factors)) or ((1, 1),)),)
    piece = tensor.pieces[0]
    source = View(view.variable, view.offset, axes)
    return Tensor((tensor.size,), tensor.dtype, (type(piece)((0,), source),))


def layout(tensor: Tensor) -> tuple[tuple[Factor, ...], ...] | None:
    """What two tensors of one shape have in common if their elements lie in the same order.

    Returns:
        Extents and strides of every axis, as few as possible; None if it is not one view.
    """
    view = tensor.view()
    return None if view is None else tuple(coalesce(axis) for axis in view.axes)


def regrouped(ctx: Context, tensor: Tensor, group: int, name: str) -> Tensor:
    """A tensor [batch, channels, *field] in groups of channels: itself, or a copy.

    Args:
        ctx: the lowering.
        tensor: where it lies now.
        group: channels that shall lie together; a divisor of the channels.
        name: of the copy.
    """
    if _run(by_groups(tensor, group)) is not None:
        return tensor
    made = grouped(ctx, name, tensor.dtype, tensor.shape, group)
    ctx.builder.copy_into(made, tensor, name)
    return made


def _factors(view: View) -> list[Factor]:
    return [factor for axis in view.axes for factor in coalesce(axis)]


def _run(tensor: Tensor) -> int | None:
    """Where a tensor begins whose elements lie one after another, row-major; else None."""
    view = tensor.view()
    if view is None:
        return None
    factors = coalesce(tuple(factor for axis in view.axes for factor in axis))
    return view.offset if factors in ((), ((tensor.size, 1),)) else None
