"""Plans of convolutions: poplin's choice, and what it costs when it runs here."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ipuc.codelets.cast import Cast
from ipuc.codelets.conv_horizontal_mac import ConvPartialHorizontalMac
from ipuc.codelets.conv_one_by_one import ConvPartial1x1Out
from ipuc.codelets.conv_outer_product import OuterProduct
from ipuc.codelets.conv_partial import ConvPartial
from ipuc.codelets.conv_slic import ConvPartial1xNSLIC
from ipuc.codelets.conv_vertex import ConvVertex
from ipuc.codelets.conv_vertical_mac import ConvPartialVerticalMac
from ipuc.codelets.cycles.amp import weights_per_unit
from ipuc.planner.choices import Record, misfit
from ipuc.planner.context import Context
from ipuc.planner.conv_problem import Conv, conv_of, params_of
from ipuc.planner.partials import partials_costs
from ipuc.planner.plan import EVEN, WIDE, exchange_cycles
from ipuc.planner.poplin.cost import Pass
from ipuc.planner.poplin.params import ConvParams
from ipuc.planner.poplin.search import Plan, choose, choose_as
from ipuc.planner.poplin.table import field_grain
from ipuc.planner.poplin.transforms import Transforms, transformed
from ipuc.planner.portions import row_major
from ipuc.planner.worker2017 import OUT_GROUP, conv_splits
from ipuc.planner.worst import dearest, fullest, part_sizes


@dataclass(frozen=True, slots=True)
class ConvSplits:
    """How the vertices of a transformed convolution divide it.

    Attributes:
        group: parts of the convolution groups.
        ins: parts of the input channels.
        kernel: parts of each kernel dimension.
        batch: parts of the images.
        field: parts of each field dimension of the output.
        outs: parts of the output channels of a serial step.
        bundle: convolution groups that stay together.
        in_group: input channels that stay together.
        out_group: output channels that stay together.
        field_grain: outputs of a row that stay together.
        serial: steps that the output channels are done in.
        ins_last: tiles are numbered with the input channels innermost: the order of a pass whose
            input channels are the field of another, on the same tiles.
    """

    group: int
    ins: int
    kernel: tuple[int, ...]
    batch: int
    field: tuple[int, ...]
    outs: int
    bundle: int
    in_group: int
    out_group: int
    field_grain: int = 1
    serial: int = 1
    ins_last: bool = False

    @property
    def parts(self) -> tuple[int, ...]:
        """Parts of every axis, in the order of tile numbers: output channels are innermost.

        Source: PopLibs Convolution.cpp.
        """
        return (self.group, self.ins, *self.kernel, self.batch, *self.field, self.outs)

    @property
    def numbering(self) -> tuple[int, ...]:
        """What a part of each axis of `parts` adds to its tile's number."""
        group, ins, *rest = self.parts
        if self.ins_last:
            first, *others, last = row_major([group, *rest, ins])
            return (first, last, *others)
        return tuple(row_major(self.parts))

    @property
    def depth(self) -> int:
        """Partial sums of every output."""
        return self.ins * math.prod(self.kernel)


@dataclass(frozen=True, slots=True)
class ConvPlan:
    """A plan that vertices are made from.

    Attributes:
        how: what is done to the operands first.
        conv: the transformed convolution.
        splits: how it is divided.
        vertex: a vertex of it; stride, dilation, spread and pads are filled in later.
        rearrange: whether data, weights and result change their layout in a copy.
        sums: element type of partial sums.
    """

    how: Transforms
    conv: Conv
    splits: ConvSplits
    vertex: ConvVertex
    rearrange: tuple[bool, bool, bool]
    sums: str


@dataclass(frozen=True, slots=True)
class Placed:
    """Which operands lie where they are used, spread over the tiles that share them."""

    data: bool = False
    weights: bool = False


def plan_conv(
    ctx: Context, conv: Conv, itemsize: int, purpose: Pass, placed: Placed
) -> tuple[ConvPlan, dict[str, Any]]:
    """Choose a plan.

    Args:
        ctx: the lowering.
        conv: the problem.
        itemsize: bytes of an element.
        purpose: the pass.
        placed: where the operands lie; it changes what exchange is expected, not what is chosen.

    Returns:
        The plan, and its record beside the next ones.
    """
    worker = ctx.granularity != "tile"
    memory = ctx.choices.memory(ctx.layer)
    pinned = ctx.choices.pinned(ctx.builder.layer)
    pin = None if pinned is None else repr(pinned)
    sums = ctx.partials(itemsize)
    key = ("conv", conv, itemsize, sums, purpose, memory, placed, worker, pin)
    if key not in ctx.plans:
        if worker and conv.groups == 1 and len(conv.slides) <= 2 and not purpose.dense:
            ctx.plans[key] = _plan_2017(ctx, _base(ctx, conv, itemsize), itemsize)
        elif ctx.granularity == "fine":
            ctx.plans[key] = _plan_greedy(ctx, _base(ctx, conv, itemsize), itemsize)
        else:
            ctx.plans[key] = _plan_poplin(ctx, conv, itemsize, purpose, memory, placed)
    found: tuple[ConvPlan, dict[str, Any]] = ctx.plans[key]
    return found


def _base(ctx: Context, conv: Conv, itemsize: int) -> Conv:
    """The convolution without any choice: at `fine` rows of pixels stay rows."""
    params = params_of(conv, itemsize)
    return conv_of(params if ctx.granularity == "fine" else transformed(params, Transforms()))


def _plan_2017(ctx: Context, conv: Conv, itemsize: int) -> tuple[ConvPlan, dict[str, Any]]:
    rows, columns = conv.slides
    found, record = conv_splits(ctx.target, conv.outs, conv.ins, rows, columns)
    ty, tx, tz, ti, grain = found
    batch = min(conv.batch, max(1, ctx.target.tiles // (tx * ty * tz * ti)))
    in_group = min(grain, conv.ins)
    splits = ConvSplits(1, ti, (1, 1), batch, (ty, tx), tz, 1, in_group, OUT_GROUP)
    return _unchosen(ctx, conv, splits, itemsize), record


def _plan_greedy(ctx: Context, conv: Conv, itemsize: int) -> tuple[ConvPlan, dict[str, Any]]:
    """Where no planner is asked: groups, images, then rows and channels, as tiles last."""
    room, parts = ctx.target.tiles, []
    field = [s.out for s in conv.slides]
    for extent in (conv.groups, conv.batch, *field, -(-conv.outs // OUT_GROUP)):
        parts.append(min(extent, room))
        room //= parts[-1]
    group, batch, *rest = parts
    ones = (1,) * len(field)
    splits = ConvSplits(group, 1, ones, batch, tuple(rest[:-1]), rest[-1], 1, conv.ins, OUT_GROUP)
    return _unchosen(ctx, conv, splits, itemsize), {}


def _unchosen(ctx: Context, conv: Conv, splits: ConvSplits, itemsize: int) -> ConvPlan:
    ones, sums = (1,) * len(conv.slides), ctx.partials(itemsize)
    vertex = ConvPartial(ones, ones, ((0, 0),) * len(ones), sums)
    return ConvPlan(Transforms(), conv, splits, vertex, (False, False, False), sums)


def _plan_poplin(
    ctx: Context, conv: Conv, itemsize: int, purpose: Pass, memory: float, placed: Placed
) -> tuple[ConvPlan, dict[str, Any]]:
    params = params_of(conv, itemsize)
    partial = np.dtype(ctx.partials(itemsize)).itemsize
    target = ctx.target
    pinned = ctx.choices.pinned(ctx.builder.layer)
    if pinned is not None:
        plan = _pinned(ctx, pinned, params, purpose, partial)
        return executable(plan), {"chosen": _row(ctx, plan, placed), "next": []}
    found = choose(target, params, purpose, available_memory=memory, partial=partial).plans
    rows = [_row(ctx, plan, placed) for plan in found]
    record: dict[str, Any] = {"chosen": rows[0], "next": rows[1:]}
    if rows[0]["tiles"] <= WIDE * target.tiles or rows[0]["balance"] > EVEN:
        wide = choose(
            target, params, purpose, available_memory=memory, partial=partial, wide=True
        ).plans
        if wide:
            record["cheapest wide and even"] = _row(ctx, wide[0], placed)
    else:
        record["cheapest wide and even"] = rows[0]
    return executable(found[0]), record


def _pinned(ctx: Context, record: Record, params: ConvParams, purpose: Pass, partial: int) -> Plan:
    """The plan that a record describes.

    Raises:
        OptionError: there is no such plan.
    """
    layer = ctx.builder.layer
    try:
        splits = record["splits"]
        how = Transforms(
            bool(record["swap"]), tuple(record["expand"]), tuple(record["flatten out"])
        )
        method = str(record["method"])
        wanted = {
            "groups_split": splits["group"],
            "in_split": splits["ins"],
            "out_split": splits["outs"],
            "in_group": record["in group"],
            "out_group": record["out group"],
            "out_serial": record["serial"],
        }
        wanted |= {f"{name}_split": value for name, value in splits.items()}
    except (KeyError, TypeError, AttributeError):
        raise misfit(layer, "it is no plan of a convolution or matrix product") from None
    plan = choose_as(ctx.target, params, purpose, partial, how, method, wanted)
    if plan is None:
        raise misfit(layer, "this layer has no plan with these splits and vertices")
    return plan


def executable(plan: Plan) -> ConvPlan:
    """Read a planner's row."""
    params, row, method = plan.problem.params, plan.row, plan.problem.method
    rank = range(len(params.dims))
    splits = ConvSplits(
        row["groups_split"],
        row["in_split"],
        tuple(row[f"kernel{d}_split"] for d in rank),
        row["batch_split"],
        tuple(row[f"field{d}_split"] for d in rank),
        row["out_split"],
        method.bundle,
        row["in_group"],
        row["out_group"],
        field_grain(params, method),
        plan.serial,
    )
    rearrange = tuple(bool(plan.items[name]) for name in ("move_data", "move_weights", "move_out"))
    return ConvPlan(
        plan.problem.transforms,
        conv_of(params),
        splits,
        _vertex(plan),
        (rearrange[0], rearrange[1], rearrange[2]),
        {2: "float16", 4: "float32"}[method.partial],
    )


def _vertex(plan: Plan) -> ConvVertex:
    params, row, method = plan.problem.params, plan.row, plan.problem.method
    ones = (1,) * len(params.dims)
    sums = {2: "float16", 4: "float32"}[method.partial]
    plain: dict[str, Any] = {
        "stride": ones,
        "dilation": ones,
        "pads": ((0, 0),) * len(ones),
        "partials": sums,
        "in_group": row["in_group"],
        "out_group": row["out_group"],
    }
    if method.name == "HMAC":
        single = plan.problem.long_row and params.itemsize == 2 and method.partial >= 4
        return ConvPartialHorizontalMac(**plain, single=single)
    if method.name == "VMAC":
        return ConvPartialVerticalMac(**plain, bundle=method.bundle)
    if method.name == "SLIC":
        return ConvPartial1xNSLIC(**plain, bundle=method.bundle)
    if method.name == "OUTER_PRODUCT":
        return OuterProduct(**plain)
    if plan.problem.long_row and row["in_group"] == weights_per_unit(params.itemsize):
        return ConvPartial1x1Out(**plain)
    return ConvPartial(**plain)


def _row(ctx: Context, plan: Plan, placed: Placed) -> dict[str, Any]:
    """The record of one plan: what was chosen, and its cost when it runs."""
    made = executable(plan)
    splits, conv = made.splits, made.conv
    names = [
        "group",
        "ins",
        *(f"kernel{d}" for d in range(len(conv.slides))),
        "batch",
        *(f"field{d}" for d in range(len(conv.slides))),
        "outs",
    ]
    costs = expected(ctx, made, plan.problem.params.itemsize, placed)
    how = made.how
    return {
        "method": plan.problem.method.name,
        "in group": splits.in_group,
        "out group": splits.out_group,
        "swap": how.swap,
        "expand": list(how.expand),
        "flatten out": list(how.flatten_out),
        "rearrange": [
            name
            for name, moved in zip(("data", "weights", "result"), made.rearrange, strict=True)
            if moved
        ],
        "serial": splits.serial,
        "splits": dict(zip(names, splits.parts, strict=True)),
        "tiles": math.prod(splits.parts),
        "balance": round(_balance(ctx, made), 4),
        "planned": plan.total,
        "temp_bytes": plan.temp_bytes,
        "cycles": sum(costs.values()),
        "costs": costs,
    }


def _axes(made: ConvPlan) -> list[tuple[int, int, int]]:
    """Every axis of a plan, as `ConvSplits.parts`: extent, parts, grain."""
    conv, splits = made.conv, made.splits
    slides = list(zip(conv.slides, splits.kernel, splits.field, strict=True))
    grains = [1] * (len(slides) - 1) + [splits.field_grain]
    return [
        (conv.groups, splits.group, splits.bundle),
        (conv.ins, splits.ins, splits.in_group),
        *((s.kernel, parts, 1) for s, parts, _ in slides),
        (conv.batch, splits.batch, 1),
        *((s.out, n, grain) for (s, _, n), grain in zip(slides, grains, strict=True)),
        (conv.outs // splits.serial, splits.outs, splits.out_group),
    ]


def _fullest(made: ConvPlan) -> list[int]:
    return [int(fullest(n, np.asarray(parts), grain)) for n, parts, grain in _axes(made)]


def _balance(ctx: Context, made: ConvPlan) -> float:
    work = math.prod(_fullest(made)) * made.splits.serial
    whole = made.conv.macs
    return work * ctx.target.tiles / whole


def expected(ctx: Context, made: ConvPlan, itemsize: int, placed: Placed) -> dict[str, int]:
    """Cycles that the vertices of a plan are expected to take, by item, without its copies.

    Compute is exact. Of an operand that lies where it is used, every user holds an equal share.
    Elsewhere nothing counts as local: activations lie where the layer before made them.
    """
    target, conv, splits = ctx.target, made.conv, made.splits
    rank = len(conv.slides)
    group, ins, *rest = _fullest(made)
    kernel, batch, field, outs = rest[:rank], rest[rank], rest[rank + 1 : -1], rest[-1]
    taken = batch * group * ins
    for slide, span, elements in zip(conv.slides, field, kernel, strict=True):
        taken *= int(slide.reach(span, elements))
    held = group * outs * ins * math.prod(kernel)
    rate, bus = target.exchange_bytes_per_cycle, target.tiles_per_exchange_bus
    # Neighbours that read the same elements share a bus: the innermost split axis decides which.
    pair = bus if splits.outs % bus == 0 else 1
    inner = next((n for n in reversed((splits.batch, *splits.field)) if n > 1), 1)
    weight_pair = bus if splits.outs == 1 and inner % bus == 0 else 1
    data, weights = placed.data, placed.weights
    if made.how.swap:
        data, weights = weights, data
    local_data = taken // splits.outs if data else 0
    sharing = splits.batch * math.prod(splits.field)
    local_weights = held // sharing if weights else 0
    outputs = conv.batch * conv.groups * conv.outs // splits.serial
    outputs *= math.prod(s.out for s in conv.slides)
    produced = batch * group * outs * math.prod(field)
    sizes = [part_sizes(n, parts, grain) for n, parts, grain in _axes(made)]
    compute = int(dearest(sizes, lambda found: _compute(ctx, made, found, itemsize)))
    costs = {
        "input exchange": int(exchange_cycles((taken - local_data) * itemsize, rate * pair)),
        "weight exchange": int(
            exchange_cycles((held - local_weights) * itemsize, rate * weight_pair)
        ),
        "compute": compute,
    }
    costs |= partials_costs(target, splits.depth, outputs, produced, itemsize, made.sums)
    if splits.depth == 1 and np.dtype(made.sums).itemsize != itemsize:
        cast = Cast(made.sums, "float16")
        costs["cast"] = int(cast.cycles(target, {"out": (produced,)}, itemsize))
        costs["sync"] = target.sync_cycles
    return {name: value * splits.serial for name, value in costs.items() if value}


def _compute(ctx: Context, made: ConvPlan, sizes: Sequence[Any], itemsize: int) -> Any:
    """Cycles of a tile, for columns of `_axes`."""
    rank = len(made.conv.slides)
    group, ins, *rest = sizes
    kernel, batch, field, outs = rest[:rank], rest[rank], rest[rank + 1 : -1], rest[-1]
    vertex = replace(
        made.vertex,
        stride=tuple(s.stride for s in made.conv.slides),
        dilation=tuple(s.dilation for s in made.conv.slides),
        spread=tuple(s.spread for s in made.conv.slides),
    )
    slides = zip(made.conv.slides, field, kernel, strict=True)
    windows = {
        "x": (batch, group, ins, *(s.reach(n, k) for s, n, k in slides)),
        "weights": (group, outs, ins, *kernel),
        "out": (batch, group, outs, *field),
    }
    return np.asarray(vertex.cycles(ctx.target, windows, itemsize))
