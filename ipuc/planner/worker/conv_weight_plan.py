"""How the gradient of a convolution's weights is spread over tiles, by the rules of 2017.

Source: rules read in the public history of Graphcore's PopLibs, winter 2016/17.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ipuc.codelets.conv_weight_grad_aop import ConvWeightGradAop
from ipuc.planner.conv_problem import Conv
from ipuc.planner.plan import Table
from ipuc.planner.search import candidates
from ipuc.planner.window import Slide
from ipuc.target import Target


@dataclass(frozen=True, slots=True)
class WeightPlan:
    """A plan.

    Attributes:
        in_group: input channels that lie together.
        out_group: output channels that lie together.
        ty: tiles along y of the deltas.
        tx: tiles along x of the deltas.
        tz: tiles along groups of output channels.
        ti: tiles along groups of input channels.
    """

    in_group: int
    out_group: int
    ty: int
    tx: int
    tz: int
    ti: int

    @property
    def depth(self) -> int:
        """Partial sums of each weight."""
        return self.ty * self.tx


def reached(conv: Conv) -> bool:
    """Whether the rules say anything about a layer; others are planned as today."""
    return (
        conv.groups == 1
        and len(conv.slides) <= 2
        and all(s.spread == 1 for s in conv.slides)
        and conv.macs > 0
    )


def plane(conv: Conv) -> tuple[Slide, Slide]:
    """The sliding windows along y and x; a layer of one field dimension has one row."""
    point = Slide(1, 1, 1)
    rest = (point,) * (2 - len(conv.slides))
    y, x = (*rest, *conv.slides)
    return y, x


def plan_weights(
    target: Target, conv: Conv, in_group: int, out_group: int, itemsize: int = 2
) -> tuple[WeightPlan, dict[str, Any]]:
    """Choose the cheapest split: (plan, plan record).

    Activations, deltas and partial sums of 4 bytes are exchanged; then come outer products, and
    the sums of the partials. As many tiles along groups of input channels are used as fit.

    Args:
        target: the machine.
        conv: the forward convolution, one that the rules reach.
        in_group: input channels that lie together.
        out_group: output channels that lie together.
        itemsize: bytes of an activation.
    """
    y, x = plane(conv)
    in_groups, out_groups = -(-conv.ins // in_group), -(-conv.outs // out_group)
    table = candidates([y.out, x.out, out_groups], target.tiles)
    fits = np.minimum(in_groups, target.tiles // np.prod(table, axis=1))
    inner = -(-in_groups // fits)
    splits = np.column_stack([table, -(-in_groups // inner)])
    rows, columns = -(-y.out // table[:, 0]), -(-x.out // table[:, 1])
    outer = -(-out_groups // table[:, 2])
    elements = y.kernel * x.kernel
    weights = elements * outer * out_group * inner * in_group
    acts = conv.batch * y.reach(rows) * x.reach(columns) * inner * in_group
    deltas = conv.batch * rows * columns * outer * out_group
    depth = table[:, 0] * table[:, 1]
    received = itemsize * (acts + deltas) + np.where(depth > 1, 4 * weights, 0)
    share = elements * conv.outs * conv.ins / target.tiles
    windows = {
        "deltas": (conv.batch, outer, rows, columns, out_group),
        "weight_deltas": (elements * outer * inner, out_group, in_group),
    }
    costs = {
        "exchange": received // target.exchange_bytes_per_cycle,
        "compute": np.asarray(ConvWeightGradAop(()).cycles(target, windows, itemsize)),
        "reduce": np.where(depth > 1, share * depth / 2, 0).astype(np.int64),
    }
    macs = conv.batch * rows * columns * weights / math.prod((conv.batch, y.out, x.out, elements))
    work = macs * np.prod(splits, axis=1) / (conv.outs * conv.ins)
    dims = ("field0", "field1", "outs", "ins")
    row, record = Table(dims, splits, costs, work, {}).choose(target.tiles)
    ty, tx, tz, ti = (int(v) for v in splits[row])
    plan = WeightPlan(in_group, out_group, ty, tx, tz, ti)
    return plan, {"rules": "2017", "in group": in_group, "out group": out_group, **record}
