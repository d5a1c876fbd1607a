"""One plan for the three passes of a fully connected layer, so that its weights never move.

The weights are cut into one block a tile. A tile multiplies its block by activations going forward,
by the result's gradients going back, and makes the same block of the weights' gradient. Every pass
pays for that with a partition that is not its own best, so the joint plan is held against three
separate ones.

Source: PopLibs ConvPlan.cpp, ConvModel.cpp (joint plans of fully connected training).
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ipuc.codelets.define import ceil_div
from ipuc.planner.poplin import cost
from ipuc.planner.poplin.cost import Pass, Problem
from ipuc.planner.poplin.methods import Method, methods
from ipuc.planner.poplin.params import ConvParams, canonical, product
from ipuc.planner.poplin.search import AVAILABLE_MEMORY, SIZES, Plan, choose
from ipuc.planner.poplin.table import MOST_MAC_GROUPS, take
from ipuc.planner.poplin.transforms import Transforms, transformed
from ipuc.planner.search import candidates
from ipuc.target import Target
from ipuc.types import Ints

#: Operands change places: the weights are the field, which the tiles hold.
SWAP = Transforms(swap=True)
PASSES = (Pass.FC_FORWARD, Pass.FC_DATA, Pass.FC_WEIGHTS)


@dataclass(frozen=True, slots=True)
class Dense:
    """A fully connected layer, y = x W^T.

    Attributes:
        batch: rows of x.
        ins: columns of x and of W.
        outs: rows of W.
        itemsize: bytes of an element.
    """

    batch: int
    ins: int
    outs: int
    itemsize: int

    def products(self) -> tuple[ConvParams, ConvParams, ConvParams]:
        """The passes as the separate planner sees them: forward, data and weight gradient."""
        size, made = self.itemsize, product
        return (
            made(self.batch, self.ins, self.outs, itemsize=size),
            made(self.batch, self.outs, self.ins, itemsize=size),
            made(self.ins, self.batch, self.outs, itemsize=size),
        )


@dataclass(frozen=True, slots=True)
class Joint:
    """A joint plan: tile i * row_parts + r holds columns i and rows r of the weights.

    Attributes:
        plans: of the forward pass, the data gradient and the weight gradient.
        grain: rows and columns of the weights that stay together.
        column_parts: parts of the weights' columns, the layer's inputs.
        row_parts: parts of the weights' rows, the layer's outputs.
    """

    plans: tuple[Plan, Plan, Plan]
    grain: int
    column_parts: int
    row_parts: int


@dataclass(frozen=True, slots=True)
class Passes:
    """What was chosen for the three passes of a layer, and what else there was.

    Attributes:
        joint: the best joint plan within the memory offered, if there is one.
        separate: the best plan of each pass alone.
        fits: whether the separate plans keep within the memory offered.
    """

    joint: Joint | None
    separate: tuple[Plan, Plan, Plan]
    fits: bool

    @property
    def chosen(self) -> Joint | None:
        """The joint plan, unless the separate ones fit and are cheaper."""
        if self.joint is None or not self.fits:
            return self.joint
        return self.joint if _cycles(self.joint.plans) <= _cycles(self.separate) else None

    def record(self) -> dict[str, Any]:
        """Both sums as JSON values: planned cycles, and temporary bytes of the fullest tile."""
        joint = None if self.joint is None else self.joint.plans
        return {
            "joint": self.chosen is not None,
            "joint cycles": joint and _cycles(joint),
            "joint temp_bytes": joint and max(plan.temp_bytes for plan in joint),
            "separate cycles": _cycles(self.separate),
            "separate temp_bytes": max(plan.temp_bytes for plan in self.separate),
        }


@functools.lru_cache(maxsize=1024)
def choose_passes(
    target: Target,
    layer: Dense,
    available_memory: float = AVAILABLE_MEMORY,
    partial: int = 4,
) -> Passes:
    """Plan the three passes of a fully connected layer together and alone.

    Args:
        target: the machine.
        layer: the layer; every extent is positive.
        available_memory: share of a tile's memory that may be used meanwhile.
        partial: bytes of a partial sum of halves.
    """
    forward, data, weights = (
        choose(target, params, why, available_memory=available_memory, partial=partial).plan
        for params, why in zip(layer.products(), PASSES, strict=True)
    )
    limit = available_memory * target.tile_memory_bytes
    fits = max(plan.temp_bytes for plan in (forward, data, weights)) <= limit
    found: list[Joint] = []
    for name in ("AMP", "HMAC"):
        found += _best(target, layer, name, limit, partial)
    best = min(found, key=lambda joint: _cycles(joint.plans), default=None)
    return Passes(best, (forward, data, weights), fits)


def _cycles(plans: tuple[Plan, ...]) -> int:
    return sum(plan.total for plan in plans)


@dataclass(frozen=True, slots=True)
class _Cuts:
    """Candidates of one method, one entry each: how the weights are cut, and the groups.

    Attributes:
        grain: rows and columns that stay together, a vertex's group of input channels.
        outs: a vertex's group of output channels, which are the batch.
        columns: parts of the weights' columns.
        rows: parts of the weights' rows.
    """

    grain: Ints
    outs: Ints
    columns: Ints
    rows: Ints


def _cuts(target: Target, layer: Dense, method: Method) -> _Cuts | None:
    """Every cut of the weights into one block a tile."""
    most = MOST_MAC_GROUPS if method.name == "HMAC" else max(layer.ins, layer.outs)
    found = []
    for grain in method.in_groups:
        grains = [ceil_div(layer.ins, grain), ceil_div(layer.outs, grain)]
        parts = candidates(grains, target.tiles)
        parts = parts[(ceil_div(np.array(grains), parts) <= most).all(axis=1)]
        for outs in method.out_groups:
            fixed = np.broadcast_to([grain, outs], (len(parts), 2))
            found.append(np.concatenate([fixed, parts], axis=1))
    table = np.concatenate(found)
    return _Cuts(*table.T) if len(table) else None


def _best(target: Target, layer: Dense, name: str, limit: float, partial: int) -> list[Joint]:
    """The best joint plan with one vertex type, if one keeps within the memory."""
    forward, data, _ = layer.products()
    # The weight gradient lies as the weights do if it is made row by row of them.
    update = product(layer.outs, layer.batch, layer.ins, itemsize=layer.itemsize)
    found = [list(_problems(target, one, partial)) for one in (forward, data, update)]
    first, second = (next(p for p in one if p.method.name == name) for one in found[:2])
    cuts = _cuts(target, layer, first.method)
    if cuts is None:
        return []
    columns = _span(layer.ins, cuts.grain, cuts.columns)
    rows = _span(layer.outs, cuts.grain, cuts.rows)
    ahead = _evaluated(
        first,
        _table(cuts, (cuts.grain, cuts.columns, columns), layer.batch, (cuts.rows, rows)),
    )
    # A group that is larger than the whole axis is filled with nothing.
    group = np.minimum(cuts.grain, max(second.method.in_groups))
    back = _evaluated(
        second, _table(cuts, (group, cuts.rows, rows), layer.batch, (cuts.columns, columns))
    )
    updates = _updates(layer, found[2], name, cuts, (columns, rows))
    totals, temps = (
        np.stack([getattr(one, name) for one in updates]) for name in ("total", "temp")
    )
    cheapest = np.argmin(totals, axis=0)
    total = ahead.total + back.total + totals.min(axis=0)
    last = np.take_along_axis(temps, cheapest[None], axis=0)[0]
    temp = np.maximum(np.maximum(ahead.temp, back.temp), last)
    order = np.lexsort((temp, total))
    order = order[temp[order] <= limit]
    if not len(order):
        return []
    at = int(order[0])
    plans = ahead.plan(at), back.plan(at), updates[cheapest[at]].plan(at)
    return [Joint(plans, int(cuts.grain[at]), int(cuts.columns[at]), int(cuts.rows[at]))]


def _problems(target: Target, params: ConvParams, partial: int) -> Iterator[Problem]:
    """A pass with its operands exchanged, for every vertex type."""
    turned = transformed(canonical(params), SWAP)
    for method in methods(target, turned, dense=True, partial=partial):
        # Derived passes find everything as the forward pass left it, so they pay what it pays.
        yield Problem(target, turned, SWAP, method, Pass.FC_FORWARD)


def _span(extent: int, grain: Ints, parts: Ints) -> Ints:
    """Elements of the fullest part."""
    most: Ints = np.minimum(ceil_div(ceil_div(extent, grain), parts) * grain, extent)
    return most


def _table(
    cuts: _Cuts, ins: tuple[Ints, Ints, Ints], batch: int, field: tuple[Ints, Ints]
) -> dict[str, Ints]:
    """Columns as `table.grow` makes them, of a pass that reads the weights.

    Args:
        cuts: the candidates.
        ins: of the input channels: group, parts, elements of the fullest part.
        batch: output channels.
        field: of the field: parts, elements of the fullest part.
    """
    group, parts, span = ins
    return _plain(cuts) | {
        "in_group": group,
        "in_split": parts,
        "in_groups": ceil_div(span, group),
        "out_group": cuts.outs,
        "out_split": np.ones_like(parts),
        "out_groups": ceil_div(batch, cuts.outs),
        "field1_split": field[0],
        "field1": field[1],
    }


def _plain(cuts: _Cuts) -> dict[str, Ints]:
    """Axes that are never cut."""
    one = np.ones_like(cuts.grain)
    names = ("groups", "batch", "kernel0", "kernel1", "field0")
    table = {f"{name}{end}": one for name in names for end in ("", "_split")}
    return table | {"used": cuts.columns * cuts.rows, "in_serial": one, "out_serial": one}


@dataclass(frozen=True, slots=True)
class _Evaluated:
    """One pass of every candidate: its columns, itemised costs, total and temporary bytes."""

    problem: Problem
    table: Mapping[str, Ints]
    parts: Mapping[str, Ints]
    total: Ints
    temp: Ints
    depth: Ints

    def plan(self, at: int) -> Plan:
        """The plan of one candidate."""
        row, parts = take(self.table, np.array([at])), self.parts
        return Plan(
            self.problem,
            {name: int(column[0]) for name, column in row.items()},
            {name: int(parts[name][at]) for name in (*cost.EACH, *cost.ONCE, *SIZES)},
            int(self.total[at]),
            int(self.temp[at]),
            int(self.depth[at]),
        )


def _evaluated(problem: Problem, table: Mapping[str, Ints]) -> _Evaluated:
    size = cost.sizes(problem, table)
    parts = cost.exchange(problem, table, size) | cost.after(problem, table, size)
    still = np.zeros_like(table["used"])
    # Vertices read operands where they lie: nothing is copied into another layout.
    parts |= dict.fromkeys(cost.rearranging(problem, table), still)
    parts["compute"] = cost.compute(problem, table)
    temp = cost.temp_bytes(problem, table, size, parts)
    parts = {name: column + still for name, column in parts.items()}
    depth = size["depth"] + still
    return _Evaluated(problem, table, parts, cost.planned(parts, 1) + still, temp + still, depth)


def _updates(
    layer: Dense, problems: list[Problem], name: str, cuts: _Cuts, spans: tuple[Ints, Ints]
) -> list[_Evaluated]:
    """The weight gradient of every candidate, once for each choice of groups.

    Args:
        layer: the layer.
        problems: the pass, for every vertex type.
        name: vertex type of the other passes.
        cuts: the candidates.
        spans: columns and rows of the weights on the fullest tile.
    """
    columns, rows = spans
    one = np.ones_like(rows)
    names = {name} | ({"OUTER_PRODUCT"} if name == "HMAC" and layer.batch == 1 else set())
    made = []
    for problem in problems:
        method = problem.method
        if method.name not in names:
            continue
        for ins in method.in_groups:
            count = ceil_div(layer.batch, ins)
            if method.name == "HMAC" and count > MOST_MAC_GROUPS:
                continue
            # As poplin mirrors the forward plan: one group is one grain of the weights.
            groups = [size * one for size in method.out_groups]
            groups += [cuts.grain] if method.name == "OUTER_PRODUCT" else []
            for outs in groups:
                table = _plain(cuts) | {
                    "in_group": ins * one,
                    "in_split": one,
                    "in_groups": count * one,
                    "out_group": outs,
                    "out_split": cuts.rows,
                    "out_groups": ceil_div(rows, outs),
                    "field1": columns,
                    "field1_split": cuts.columns,
                }
                made.append(_evaluated(problem, table))
    return made
