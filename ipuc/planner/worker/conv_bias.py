"""Gradients and updates of a convolution's biases, in two reductions, by the rules of 2017.

Source: rules read in the public history of Graphcore's PopLibs, winter 2016/17.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ipuc.codelets.conv_bias_reduce1 import ConvBiasReduce1
from ipuc.codelets.conv_bias_reduce2 import ConvBiasReduce2
from ipuc.codelets.conv_bias_update import ConvBiasUpdate
from ipuc.planner.context import Context
from ipuc.planner.in_their_place import whereabouts
from ipuc.planner.scaled_add import scaled_add
from ipuc.planner.worker.layout import GROUPS, fitting_group, group_of, regrouped
from ipuc.program.family import Access, IndexMap, separable
from ipuc.program.split import split_axis
from ipuc.program.tensor import Tensor, coalesce
from ipuc.types import Ints


def bias_gradient(ctx: Context, dy: Tensor, name: str) -> Tensor:
    """The gradient of a bias: deltas summed over images and field.

    Args:
        ctx: the lowering.
        dy: deltas, [batch, channels, *field]. Each tile first sums what it holds.
        name: of the result.

    Returns:
        [channels], element type of `dy`.
    """
    out = ctx.builder.variable(name, dy.dtype, dy.shape[1:2])
    if not dy.size:
        ctx.builder.copy_into(out, ctx.scalar(0.0, dy.dtype, out.shape), name)
        return out
    partials = _partials(ctx, dy, name)
    channels, count = partials.shape
    with ctx.builder.compute_set(f"{name} reduce 3") as compute_set:
        compute_set.workers = "one"
        compute_set.add(
            ConvBiasReduce2(),
            _first_workers(ctx, channels, count),
            partials=ctx.builder.field(partials, [np.arange(channels) * count], (count,)),
            out=ctx.builder.field(out, [np.arange(channels)], ()),
        )
    return out


def bias_update(ctx: Context, dy: Tensor, bias: Tensor, rate: float | Tensor, name: str) -> None:
    """A step of a bias down its gradient, where it lies: one vertex for each channel.

    Args:
        ctx: the lowering.
        dy: deltas, [batch, channels, *field].
        bias: [channels], one strided view.
        rate: the learning rate; one element if the program shall not hold it fixed.
        name: of the compute sets.
    """
    if isinstance(rate, Tensor):
        gradient = bias_gradient(ctx, dy, f"{name} gradient")
        scaled_add(ctx, bias, gradient, rate, name, subtract=True)
        return
    if not dy.size:
        return
    partials = _partials(ctx, dy, name)
    channels, count = partials.shape
    variable, offset, stride = _row(ctx, bias)
    places = offset + np.arange(channels, dtype=np.int64) * stride
    known = ctx.builder.placed(bias)
    if known is None:
        tile = _first_workers(ctx, channels, count)
    else:
        tile = separable(0, known.tile_of(places) - ctx.builder.first_tile)
    with ctx.builder.compute_set(f"{name} update") as compute_set:
        compute_set.workers = "one"
        compute_set.add(
            ConvBiasUpdate(rate),
            tile,
            partials=ctx.builder.field(partials, [np.arange(channels) * count], (count,)),
            bias=Access(variable, separable(0, places), (), ()),
        )


def _row(ctx: Context, bias: Tensor) -> tuple[int, int, int]:
    """Variable, first element and stride of a bias."""
    view = ctx.builder.one_view(bias)
    factors = coalesce(view.axes[0]) or ((1, 0),)
    assert len(factors) == 1
    return view.variable, view.offset, factors[0][1]


def _first_workers(ctx: Context, channels: int, count: int) -> IndexMap:
    """The tile on which the first partial sum of each bias is made."""
    first = np.arange(channels, dtype=np.int64) * count // ctx.target.worker_contexts
    return separable(0, first % ctx.target.tiles)


@dataclass(frozen=True, slots=True)
class _Pieces:
    """Deltas of one group of channels on one tile, sorted by group.

    Attributes:
        begin: first element in the variable.
        size: elements.
        tile: where they lie.
        first: the first piece of each group of channels, and the number of all.
    """

    begin: Ints
    size: Ints
    tile: Ints
    first: Ints


def _partials(ctx: Context, dy: Tensor, name: str) -> Tensor:
    """Both reductions: [channels, sums left of each], a variable of wide sums."""
    builder = ctx.builder
    batch, channels, *field = dy.shape
    plain = builder.reshape(dy, (batch, channels, math.prod(field)), f"{name} deltas")
    group = group_of(plain)
    if group is None:
        group = fitting_group(channels, GROUPS[0])
        plain = regrouped(ctx, plain, group, f"{name} deltas")
    pieces = _pieces(ctx, plain, group)
    rows = len(pieces.begin)
    variable = builder.one_view(plain).variable
    wide = ctx.partials(dy.itemsize)
    sums = builder.variable(f"{name} sums of tiles", wide, (rows, group))
    with builder.compute_set(f"{name} reduce 1") as compute_set:
        compute_set.workers = "one"
        for size in np.unique(pieces.size).tolist():
            mine = np.flatnonzero(pieces.size == size)
            compute_set.add(
                ConvBiasReduce1(),
                separable(0, pieces.tile[mine]),
                deltas=Access(
                    variable, separable(0, pieces.begin[mine]), (size // group, group), (group, 1)
                ),
                out=builder.field(sums, [mine * group], (group,)),
            )
    return _second(ctx, sums, pieces, channels, name)


def _pieces(ctx: Context, deltas: Tensor, group: int) -> _Pieces:
    """Cut deltas where they lie: at tiles, images and groups of channels.

    Deltas that tiles share in parts of a unit are read as if they were spread by units.

    Args:
        ctx: the lowering.
        deltas: [batch, channels, places], groups of channels innermost.
        group: channels that lie together.
    """
    batch, channels, places = deltas.shape
    groups, plane = channels // group, places * group
    offset = _offset(ctx, deltas)
    mapping = whereabouts(ctx, deltas, group)
    inside = (mapping.starts > offset) & (mapping.starts < offset + deltas.size)
    starts = np.union1d(np.arange(batch * groups) * plane, mapping.starts[inside] - offset)
    if (starts % group).any():
        units = deltas.size // group
        each = -(-units // ctx.target.tiles) * group
        starts = np.union1d(np.arange(batch * groups) * plane, np.arange(0, deltas.size, each))
        tile = starts // each
    else:
        tile = mapping.tile_of(starts + offset)
    size = np.diff(starts, append=deltas.size)
    owner = starts // plane % groups
    order = np.argsort(owner, kind="stable")
    first = np.searchsorted(owner[order], np.arange(groups + 1))
    return _Pieces(starts[order] + offset, size[order], tile[order], first)


def _offset(ctx: Context, deltas: Tensor) -> int:
    return ctx.builder.one_view(deltas).offset


def _second(ctx: Context, sums: Tensor, pieces: _Pieces, channels: int, name: str) -> Tensor:
    """The second reduction: all workers of the chip share the sums of the first.

    Args:
        ctx: the lowering.
        sums: [pieces, group].
        pieces: whose.
        channels: biases.
        name: of the layer.
    """
    builder, target = ctx.builder, ctx.target
    group = sums.shape[1]
    rows = np.diff(pieces.first)
    count = max(1, target.tiles * target.worker_contexts // channels)
    count = min(count, int(rows.min()))
    left = builder.variable(f"{name} sums of workers", sums.dtype, (channels, count))
    lane = np.arange(group, dtype=np.int64)
    with builder.compute_set(f"{name} reduce 2") as compute_set:
        compute_set.workers = "one"
        for number in np.unique(rows).tolist():
            mine = np.flatnonzero(rows == number)
            for part in split_axis(number, count):
                into = [mine * group * count, lane * count, part.index]
                worker = separable(0, *into).dense()
                compute_set.add(
                    ConvBiasReduce2(),
                    IndexMap(0, explicit=worker // target.worker_contexts % target.tiles),
                    partials=builder.field(
                        sums,
                        [pieces.first[mine] * group, lane, part.begin * group],
                        (part.size,),
                        (group,),
                    ),
                    out=builder.field(left, into, ()),
                )
    return left
