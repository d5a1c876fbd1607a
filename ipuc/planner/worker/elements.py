"""Work on elements as in 2017: units of a layout over tiles, a tile's elements over its workers.

Results lie as the operands do. In layouts of channels the unit is a group of one pixel; rows of
scores, as fully connected layers make them, are spread element by element.
Source: rules read in the public history of Graphcore's PopLibs, winter 2016/17.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ipuc.codelets.define import Codelet
from ipuc.codelets.non_linearity_bwd import NonLinearityBwd
from ipuc.codelets.non_linearity_fwd import NonLinearityFwd
from ipuc.codelets.unary import UnaryOp
from ipuc.planner.context import Context
from ipuc.planner.in_place import may_overwrite
from ipuc.planner.worker.layout import by_groups, group_of, grouped, regrouped, spread
from ipuc.planner.worker.shares import shares, tile_of
from ipuc.program.family import Access, separable
from ipuc.program.tensor import Tensor
from ipuc.types import Shape

#: Axes of a row of scores for each image.
ROWS = 2


def rectified(ctx: Context, x: Tensor, name: str) -> Tensor | None:
    """Add the vertices of a rectifier: over its operand, if nothing needs that again.

    Args:
        ctx: the lowering.
        x: [batch, channels, *field], in groups of channels, or row-major.
        name: of the result.

    Returns:
        The result; None, and nothing done, if `x` does not lie so, or on other tiles.
    """
    group = _group(x)
    if group is None:
        return None
    variable = ctx.builder.one_view(x).variable
    whole = ctx.builder.variables[variable].size == x.size
    if whole and ctx.builder.makers(variable) and may_overwrite(ctx, variable, mapped=True):
        if not _in_units(ctx, x, group):
            return None  # in place elsewhere than it was made, everything would move
        _add(ctx, NonLinearityFwd(), {"x": x}, group, name)
        return x
    return _new(ctx, UnaryOp("relu"), {"x": x}, ("out", x.dtype, x.shape), group, name)


def rectified_back(ctx: Context, y: Tensor, dy: Tensor, name: str) -> Tensor | None:
    """Add the vertices of a rectifier's gradient.

    Args:
        ctx: the lowering.
        y: the rectifier's result: [batch, channels, *field].
        dy: gradient of that, in groups of channels, or row-major.
        name: of the gradient.

    Returns:
        The gradient, which lies as `dy`; None, and nothing done, if neither lies so.
    """
    operands = _alike(ctx, {"dy": dy, "y": y}, name)
    if operands is None:
        return None
    group, laid = operands
    return _new(ctx, NonLinearityBwd(), laid, ("dx", dy.dtype, dy.shape), group, name)


def in_groups(
    ctx: Context, codelet: Codelet, operands: Mapping[str, Tensor], dtype: str, name: str
) -> Tensor | None:
    """Apply a codelet to operands of one shape, some of which lie in groups of channels.

    Args:
        ctx: the lowering.
        codelet: all its fields have one window shape; the output field is called "out".
        operands: input tensors by field name.
        dtype: element type of the result.
        name: of the result.

    Returns:
        The result, in groups of channels as the first operand that lies so; None, and nothing
        done, if none does.
    """
    shapes = {tensor.shape for tensor in operands.values()}
    (shape,) = shapes if len(shapes) == 1 else ((),)
    if ctx.granularity != "worker" or len(shape) <= ROWS:
        return None
    if all((_group(tensor) or 1) == 1 for tensor in operands.values()):
        return None
    found = _alike(ctx, operands, name)
    if found is None:
        return None
    return _new(ctx, codelet, found[1], ("out", dtype, shape), found[0], name)


def _in_units(ctx: Context, x: Tensor, group: int) -> bool:
    """Whether a whole variable lies where the vertices of its units stand."""
    placed = ctx.builder.placed(x)
    tiles = tile_of(ctx.target, np.arange(x.size, dtype=np.int64), x.size, group)
    same = placed is not None and placed.dense(x.size) == tiles + ctx.builder.first_tile
    return bool(np.all(same))


def _group(tensor: Tensor) -> int | None:
    """Elements that stay on a tile together; None if a tensor does not lie in such an order."""
    if not tensor.size:
        return None
    group = group_of(tensor)
    return 1 if group is not None and len(tensor.shape) == ROWS else group


def _alike(
    ctx: Context, operands: Mapping[str, Tensor], name: str
) -> tuple[int, dict[str, Tensor]] | None:
    """Operands in the groups of the first that lies in some, and the channels of a group."""
    groups = [group for group in map(_group, operands.values()) if group is not None]
    if not groups:
        return None
    group = next((group for group in groups if group > 1), groups[0])
    return group, {
        field: regrouped(ctx, tensor, group, f"{name} {field}")
        for field, tensor in operands.items()
    }


def _new(
    ctx: Context,
    codelet: Codelet,
    operands: Mapping[str, Tensor],
    made: tuple[str, str, Shape],
    group: int,
    name: str,
) -> Tensor:
    """Add vertices that write a new variable.

    Args:
        ctx: the lowering.
        codelet: the vertex type.
        operands: by field name, all in groups of channels.
        made: field, element type and shape of the result.
        group: channels of a group; 1 for row-major.
        name: of the result.
    """
    field, dtype, shape = made
    if len(shape) == ROWS:
        out = ctx.builder.variable(name, dtype, shape)
        spread(ctx, out, group)
    else:
        out = grouped(ctx, name, dtype, shape, group)
    _add(ctx, codelet, {**operands, field: out}, group, name)
    return out


def _add(
    ctx: Context, codelet: Codelet, tensors: Mapping[str, Tensor], group: int, name: str
) -> None:
    """Add the vertices: tensors that lie in one order, cut into equal runs."""
    views = {
        field: ctx.builder.one_view(by_groups(tensor, group)) for field, tensor in tensors.items()
    }
    size = next(iter(tensors.values())).size
    with ctx.builder.compute_set(name) as compute_set:
        compute_set.workers = "one"
        for share in shares(ctx.target, size, group):
            fields = {
                field: Access(
                    view.variable, separable(view.offset, *share.begins()), (share.size,), (1,)
                )
                for field, view in views.items()
            }
            compute_set.add(codelet, share.tiles(), **fields)
