"""Convolutions: the plan, and the reduction of partial sums that it may leave."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ipuc.codelets.conv_partial import ConvPartial
from ipuc.codelets.reduce_add import ReduceAdd
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
from ipuc.planner.reduction import add_partials
from ipuc.planner.search import candidates
from ipuc.planner.worker2017 import conv_splits
from ipuc.program.tensor import Tensor

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
    x, weights = builder.solid(x, f"{name} input"), builder.solid(weights, f"{name} weights")
    shape = (conv.batch, conv.groups, conv.outs, *(s.out for s in conv.slides))
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
    sums = builder.variable(f"{name} partials", "float32", (depth, out.size)) if depth > 1 else out
    with builder.compute_set(name) as compute_set:
        add_families(ConvFamilies(ctx, compute_set, conv, splits, x, weights, sums))
    if depth > 1:
        add_partials(ctx, sums, out, f"{name} reduce")
    return out


def _plan(ctx: Context, conv: Conv, itemsize: int) -> ConvSplits:
    key = ("conv", conv, itemsize, ctx.granularity == "worker")
    if key not in ctx.plans:
        if ctx.granularity == "worker" and conv.groups == 1 and len(conv.slides) == 2:
            ctx.plans[key] = _plan_2017(ctx, conv)
        else:
            ctx.plans[key] = _cheapest(ctx, conv, itemsize)
    splits, record = ctx.plans[key]
    ctx.plan.update(record)
    return splits  # type: ignore[no-any-return]


def _plan_2017(ctx: Context, conv: Conv) -> tuple[ConvSplits, dict[str, Any]]:
    rows, columns = conv.slides
    found, record = conv_splits(
        ctx.target,
        conv.outs,
        conv.ins,
        (rows.out, columns.out),
        (rows.kernel, columns.kernel),
        (rows.stride, columns.stride),
    )
    ty, tx, tz, ti, grain = found
    batch = min(conv.batch, max(1, ctx.target.tiles // (tx * ty * tz * ti)))
    return ConvSplits(1, ti, batch, (ty, tx), tz, min(grain, conv.ins)), record


def _cheapest(ctx: Context, conv: Conv, itemsize: int) -> tuple[ConvSplits, dict[str, Any]]:
    """Enumerate splits as columns and take the cheapest; source: PopLibs ConvModel.cpp."""
    target = ctx.target
    in_grain = min(conv.ins, 8)
    counts = [
        conv.groups,
        -(-conv.ins // in_grain),
        conv.batch,
        *(s.out for s in conv.slides),
        -(-conv.outs // OUT_GROUP),
    ]
    table = candidates(counts, target.tiles)
    used = np.prod(table, axis=1)
    table = table[used >= min(int(used.max()), target.tiles // 4)]
    used = np.prod(table, axis=1)
    group = -(-conv.groups // table[:, 0])
    ins = np.minimum(-(-counts[1] // table[:, 1]) * in_grain, conv.ins)
    batch = -(-conv.batch // table[:, 2])
    field = [-(-s.out // table[:, 3 + d]) for d, s in enumerate(conv.slides)]
    outs = np.minimum(-(-counts[-1] // table[:, -1]) * OUT_GROUP, conv.outs)
    reach = [s.reach(field[d]) for d, s in enumerate(conv.slides)]
    kernel = tuple(s.kernel for s in conv.slides)
    one = ConvPartial(
        tuple(s.stride for s in conv.slides),
        tuple(s.dilation for s in conv.slides),
        ((0, 0),) * len(conv.slides),
    )
    windows = {
        "x": (batch, group, ins, *reach),
        "weights": (group, outs, ins, *kernel),
        "out": (batch, group, outs, *field),
    }
    depth = table[:, 1]
    taken = products([batch, group, ins, *reach])
    held = products([group, outs, ins, *kernel])
    made = products([batch, group, outs, *field])
    sharing = table[:, -1]
    users = table[:, 2] * np.prod(table[:, 3:-1], axis=1)
    rate = target.exchange_bytes_per_cycle
    pair = np.where(sharing % target.tiles_per_exchange_bus == 0, target.tiles_per_exchange_bus, 1)
    total_outputs = conv.batch * conv.groups * conv.outs * math.prod(s.out for s in conv.slides)
    share = -(-total_outputs // target.tiles)
    reduced = ReduceAdd().cycles(target, {"partials": (depth, share), "out": (share,)}, 4)
    several = depth > 1
    costs = {
        "input exchange": exchange_cycles((taken - taken // sharing) * itemsize, rate * pair),
        "weight exchange": exchange_cycles((held - held // users) * itemsize, rate),
        "compute": np.asarray(one.cycles(target, windows, itemsize)),
        "partials exchange": np.where(several, exchange_cycles(depth * share * 4, rate), 0),
        "reduce": np.where(several, reduced + target.sync_cycles, 0),
    }
    work = made * ins * math.prod(kernel) * float(target.tiles) / conv.macs
    dims = ("group", "ins", "batch", *(f"field{d}" for d in range(len(conv.slides))), "outs")
    row, record = Table(dims, table, costs, work, {}).choose(target.tiles)
    s = [int(v) for v in table[row]]
    return ConvSplits(s[0], s[1], s[2], tuple(s[3:-1]), s[-1], in_grain), record
