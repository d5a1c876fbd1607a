"""How a convolution is spread over tiles, by the rules of 2017.

Source: rules read in the public history of Graphcore's PopLibs, winter 2016/17.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ipuc.codelets.conv_rows import FULL_GROUP, row_cycles
from ipuc.planner.context import Context
from ipuc.planner.conv_problem import Conv
from ipuc.planner.plan import Table
from ipuc.planner.search import candidates
from ipuc.planner.window import Slide
from ipuc.target import Target

#: Output channels of a group: the conv units of that time.
OUT_GROUP = 8
#: Input channels that may stay together.
IN_GROUPS = (4, 8, 16)


@dataclass(frozen=True, slots=True)
class Plan2017:
    """A plan.

    Attributes:
        in_group: input channels that lie together.
        ty: tiles along y.
        tx: tiles along x.
        tz: tiles along groups of output channels.
        ti: tiles along groups of input channels.
    """

    in_group: int
    ty: int
    tx: int
    tz: int
    ti: int

    @property
    def fused(self) -> int:
        """Kernel rows that are taken at once."""
        return FULL_GROUP // self.in_group

    @property
    def tiles(self) -> int:
        """Tiles that are used."""
        return self.ty * self.tx * self.tz * self.ti


def reached(conv: Conv) -> bool:
    """Whether the rules say anything about a layer; others are planned as today."""
    return conv.groups == 1 and len(conv.slides) in (1, 2) and conv.macs > 0


def flattened(conv: Conv) -> Conv:
    """A convolution in two field dimensions; with a kernel of one element the field is one row."""
    point = Slide(1, 1, 1)
    y, x = (*(point,) * (2 - len(conv.slides)), *conv.slides)
    if all(
        (s.kernel, s.stride, s.pad, s.spread) == (1, 1, 0, 1) and s.field == s.out for s in (y, x)
    ):
        y, x = point, Slide(y.out * x.out, y.out * x.out, 1)
    return Conv(conv.batch, conv.groups, conv.outs, conv.ins, (y, x))


def planned(ctx: Context, conv: Conv) -> tuple[Plan2017, dict[str, Any]]:
    """The plan of a convolution that the rules reach, and its record; made once."""
    flat = flattened(conv)
    key = ("conv 2017", flat)
    if key not in ctx.plans:
        ctx.plans[key] = plan_forward(ctx.target, flat)
    found: tuple[Plan2017, dict[str, Any]] = ctx.plans[key]
    return found


def plan_forward(target: Target, conv: Conv) -> tuple[Plan2017, dict[str, Any]]:
    """Choose the cheapest split: (plan, plan record).

    The input group of 4, 8 or 16 channels decides how many kernel rows are fused. As many tiles
    along groups of input channels are used as fit.

    Args:
        target: the machine; its tiles are used.
        conv: a convolution in two field dimensions.
    """
    rows, columns = conv.slides
    tables: list[tuple[Any, dict[str, Any]]] = []
    for group in IN_GROUPS:
        in_groups, out_groups = -(-conv.ins // group), -(-conv.outs // OUT_GROUP)
        table = candidates([rows.out, columns.out, out_groups], target.tiles)
        ig = -(-in_groups // np.minimum(in_groups, target.tiles // np.prod(table, axis=1)))
        ti = -(-in_groups // ig)
        block = _Block(
            -(-rows.out // table[:, 0]),
            -(-columns.out // table[:, 1]),
            -(-out_groups // table[:, 2]),
            ig,
            group,
        )
        costs = _costs(target, block, ti, (rows, columns), conv.outs)
        work = block.rows * block.columns * np.minimum(block.og * OUT_GROUP, conv.outs)
        costs["work"] = work * np.minimum(ig * group, conv.ins) * float(target.tiles)
        tables.append((np.column_stack([table, ti]), costs))
    splits = np.concatenate([splits for splits, _ in tables])
    costs = {k: np.concatenate([c[k] for _, c in tables]) for k in tables[0][1]}
    work = costs.pop("work") / (rows.out * columns.out * conv.outs * conv.ins)
    groups = np.repeat(IN_GROUPS, [len(splits) for splits, _ in tables])
    dims = ("field0", "field1", "outs", "ins")
    row, record = Table(dims, splits, costs, work, {"in group": groups}).choose(target.tiles)
    ty, tx, tz, ti = (int(v) for v in splits[row])
    return Plan2017(int(groups[row]), ty, tx, tz, ti), {"rules": "2017", **record}


@dataclass(frozen=True, slots=True)
class _Block:
    """What the fullest tile makes: columns of a table, but for the input group."""

    rows: Any
    columns: Any
    og: Any
    ig: Any
    group: int


def _costs(
    target: Target, block: _Block, ti: Any, slides: tuple[Slide, ...], outs: int
) -> dict[str, Any]:
    rows, columns = slides
    outputs = block.rows * block.columns
    inputs = rows.reach(block.rows) * columns.reach(block.columns) * block.ig * block.group
    weights = rows.kernel * columns.kernel * block.og * OUT_GROUP * block.ig * block.group
    partials = np.where(ti > 1, outputs * block.og * OUT_GROUP, 0)
    kernel = (rows.kernel, columns.kernel)
    compute = row_cycles(target, (block.rows, block.columns), kernel, block.ig, block.group)
    received = 2 * inputs + 2 * weights + 4 * partials
    share = rows.out * columns.out * outs // target.tiles
    return {
        "exchange": received // target.exchange_bytes_per_cycle,
        "compute": block.og * compute,
        "reduce": np.where(ti > 1, share * ti // 2, 0),
    }
