"""Convolutions: the plan, and the reduction of partial sums that it may leave."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ipuc.codelets.conv_partial import INPUT_GROUP, ConvPartial
from ipuc.errors import TooLarge
from ipuc.planner.context import Context
from ipuc.planner.conv_families import (
    OUT_GROUP,
    Conv,
    ConvFamilies,
    ConvSplits,
    add_families,
    partial_sums,
)
from ipuc.planner.plan import Table, exchange_cycles, products
from ipuc.planner.reduction import add_partials, partials_costs
from ipuc.planner.search import candidates
from ipuc.planner.window import Slide
from ipuc.planner.worker2017 import conv_splits
from ipuc.planner.worst import dearest, fullest, part_sizes
from ipuc.program.tensor import Tensor, coalesce
from ipuc.types import Ints

#: The rows of a convolution that has none.
_ONE_ROW = Slide(1, 1, 1)
#: `fine` keeps a partial sum for each of its vertices; more elements than this are refused.
FINE_LIMIT = 1 << 26


def convolve(ctx: Context, conv: Conv, x: Tensor, weights: Tensor, name: str) -> Tensor:
    """Add the vertices of a convolution.

    Args:
        ctx: the lowering.
        conv: the problem.
        x: [batch, groups, ins, *field].
        weights: [groups, outs, ins, *kernel].
        name: name of the result.

    Returns:
        A new row-major variable [batch, groups, outs, *out], element type of `x`.

    Raises:
        TooLarge: granularity `fine` would need too many partial sums.
    """
    builder = ctx.builder
    shape = (conv.batch, conv.groups, conv.outs, *(s.out for s in conv.slides))
    x, weights = builder.solid(x, f"{name} input"), builder.solid(weights, f"{name} weights")
    if ctx.granularity != "fine":
        conv, x = _one_row(conv, x)
    weights = builder.reshape(weights, (*weights.shape[:3], *(s.kernel for s in conv.slides)))
    out = builder.variable(name, x.dtype, shape)
    if out.size == 0 or conv.macs == 0:
        builder.copy_into(out, ctx.scalar(0.0, x.dtype, out.shape), name)
        return out
    splits = _plan(ctx, conv, x.itemsize)
    depth = partial_sums(ctx, conv, splits)
    if ctx.granularity == "fine" and depth * out.size > FINE_LIMIT:
        raise TooLarge(
            f"granularity fine needs {depth * out.size} partial sums for this convolution",
            where=name,
            fix="use --granularity worker, or a smaller model",
        )
    partials = ctx.partials(x.itemsize)
    sums = builder.variable(f"{name} partials", partials, (depth, out.size)) if depth > 1 else out
    with builder.compute_set(name) as compute_set:
        add_families(ConvFamilies(ctx, compute_set, conv, splits, x, weights, sums))
    if depth > 1:
        add_partials(ctx, sums, out, f"{name} reduce")
    return out


def _one_row(conv: Conv, x: Tensor) -> tuple[Conv, Tensor]:
    """View the field of a 1x1 convolution as one row, where a view can (as PopLibs flattens)."""
    plain = all(s == Slide(s.field, s.field, 1) for s in conv.slides)
    if not plain or len(conv.slides) < 2:
        return conv, x
    size = math.prod(s.field for s in conv.slides)
    row = x.reshape((*x.shape[:3], size))
    view = None if row is None else row.view()
    if row is None or view is None or any(len(coalesce(axis)) > 1 for axis in view.axes):
        return conv, x
    return replace(conv, slides=(Slide(size, size, 1),)), row


def _plan(ctx: Context, conv: Conv, itemsize: int) -> ConvSplits:
    key = ("conv", conv, itemsize, ctx.partials(itemsize), ctx.granularity == "worker")
    if key not in ctx.plans:
        if ctx.granularity == "worker" and conv.groups == 1 and len(conv.slides) <= 2:
            ctx.plans[key] = _plan_2017(ctx, conv)
        else:
            ctx.plans[key] = _cheapest(ctx, conv, itemsize)
    splits, record = ctx.plans[key]
    ctx.plan.update(record)
    return splits  # type: ignore[no-any-return]


def _plan_2017(ctx: Context, conv: Conv) -> tuple[ConvSplits, dict[str, Any]]:
    slides = (*(_ONE_ROW,) * (2 - len(conv.slides)), *conv.slides)
    found, record = conv_splits(ctx.target, conv.outs, conv.ins, *slides)
    ty, tx, tz, ti, grain = found
    batch = min(conv.batch, max(1, ctx.target.tiles // (tx * ty * tz * ti)))
    field = (ty, tx)[2 - len(conv.slides) :]
    return ConvSplits(1, ti, batch, field, tz, min(grain, conv.ins)), record


def _cheapest(ctx: Context, conv: Conv, itemsize: int) -> tuple[ConvSplits, dict[str, Any]]:
    """Enumerate splits as columns and take the cheapest; source: PopLibs ConvModel.cpp."""
    target = ctx.target
    in_grain = min(conv.ins, INPUT_GROUP[itemsize])
    fields = [(s.out, 1) for s in conv.slides]
    axes = [(conv.groups, 1), (conv.ins, in_grain), (conv.batch, 1), *fields]
    axes.append((conv.outs, OUT_GROUP))
    table = candidates([-(-n // grain) for n, grain in axes], target.tiles)
    used = np.prod(table, axis=1)
    table = table[used >= min(int(used.max()), target.tiles // 4)]
    sizes = [fullest(n, table[:, d], grain) for d, (n, grain) in enumerate(axes)]
    group, ins, batch, *field, outs = sizes
    reach = [s.reach(field[d]) for d, s in enumerate(conv.slides)]
    taken = products([batch, group, ins, *reach])
    held = products([group, outs, ins, *(s.kernel for s in conv.slides)])
    # Activations lie where the layer before made them: nothing of them counts as local. Nor does
    # a share of the weights on the fullest tile, unless it is their only user.
    sharing = table[:, -1]
    users = table[:, 2] * np.prod(table[:, 3:-1], axis=1)
    rate = target.exchange_bytes_per_cycle
    pair = np.where(sharing % target.tiles_per_exchange_bus == 0, target.tiles_per_exchange_bus, 1)
    total_outputs = conv.batch * conv.groups * conv.outs * math.prod(s.out for s in conv.slides)
    costs = {
        "input exchange": exchange_cycles(taken * itemsize, rate * pair),
        "weight exchange": exchange_cycles(np.where(users > 1, held * itemsize, 0), rate),
        "compute": _compute(ctx, conv, sizes, itemsize),
        **partials_costs(
            target,
            table[:, 1],
            total_outputs,
            products([batch, group, outs, *field]),
            itemsize,
            ctx.partials(itemsize),
        ),
    }
    work = products(sizes) * math.prod(s.kernel for s in conv.slides) / conv.macs
    dims = ("group", "ins", "batch", *(f"field{d}" for d in range(len(conv.slides))), "outs")

    def exact(rows: Ints) -> dict[str, Any]:
        all_sizes = [part_sizes(n, table[rows, d], grain) for d, (n, grain) in enumerate(axes)]
        return {"compute": dearest(all_sizes, lambda s: _compute(ctx, conv, s, itemsize))}

    row, record = Table(dims, table, costs, work * target.tiles, {}).choose(
        target.tiles, exact=exact
    )
    s = [int(v) for v in table[row]]
    return ConvSplits(s[0], s[1], s[2], tuple(s[3:-1]), s[-1], in_grain), record


def _compute(ctx: Context, conv: Conv, sizes: Sequence[Any], itemsize: int) -> Any:
    """Cycles of a tile, for columns of [group, ins, batch, *field, outs]."""
    group, ins, batch, *field, outs = sizes
    codelet = ConvPartial(
        tuple(s.stride for s in conv.slides),
        tuple(s.dilation for s in conv.slides),
        ((0, 0),) * len(conv.slides),
        ctx.partials(itemsize),
    )
    windows = {
        "x": (batch, group, ins, *(s.reach(n) for s, n in zip(conv.slides, field, strict=True))),
        "weights": (group, outs, ins, *(s.kernel for s in conv.slides)),
        "out": (batch, group, outs, *field),
    }
    return np.asarray(codelet.cycles(ctx.target, windows, itemsize))
