"""Find the best plan of a convolution among all transforms, vertex types and partitions."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ipuc.codelets.define import ceil_div
from ipuc.errors import InternalError
from ipuc.planner.poplin import cost
from ipuc.planner.poplin.cost import Pass, Problem
from ipuc.planner.poplin.methods import methods
from ipuc.planner.poplin.params import ConvParams, canonical
from ipuc.planner.poplin.table import Axis, axes, grow, take
from ipuc.planner.poplin.transforms import choices, transformed
from ipuc.target import Target
from ipuc.types import Ints

#: Plans kept: the chosen one and the next four.
SHOWN = 5
#: Rows of the first, quick look at each table.
BEAM = 400
#: Share of a tile's memory that a convolution may use for what lives only while it runs.
AVAILABLE_MEMORY = 0.6


@dataclass(frozen=True, slots=True)
class Plan:
    """One way to run a convolution, with what it costs.

    Attributes:
        problem: convolution, transforms and vertex type.
        row: choices and tile sizes by name (`used`, `out_split`, `in_serial`, `field0`, ...).
        items: cycles by item of one serial step, or of the whole; `cost.EACH` and `cost.ONCE`.
        total: cycles as planned.
        temp_bytes: bytes on the fullest tile that live only while the convolution runs.
        depth: tiles whose partial sums are added.
    """

    problem: Problem
    row: Mapping[str, int]
    items: Mapping[str, int]
    total: int
    temp_bytes: int
    depth: int

    @property
    def serial(self) -> int:
        """Steps of the serial loop."""
        return self.row["in_serial"] * self.row["out_serial"]

    def record(self) -> dict[str, Any]:
        """The plan as JSON values."""
        how = self.problem.transforms
        splits = {
            name.removesuffix("_split"): value
            for name, value in self.row.items()
            if name.endswith("_split") and value > 1
        }
        return {
            "method": self.problem.method.name,
            "in_group": self.row["in_group"],
            "out_group": self.row["out_group"],
            "swap": how.swap,
            "expand": list(how.expand),
            "flatten_out": list(how.flatten_out),
            "combine": how.combine,
            "splits": splits,
            "serial": {"in": self.row["in_serial"], "out": self.row["out_serial"]},
            "tiles": self.row["used"],
            "cycles": self.total,
            "temp_bytes": self.temp_bytes,
            "costs": {name: value for name, value in self.items.items() if value},
        }


@dataclass(frozen=True, slots=True)
class Choice:
    """The chosen plan and the next ones, best first."""

    plans: tuple[Plan, ...]

    @property
    def plan(self) -> Plan:
        """The chosen plan."""
        return self.plans[0]


@functools.lru_cache(maxsize=4096)
def _choose(target: Target, params: ConvParams, purpose: Pass, available_memory: float) -> Choice:
    limit = available_memory * target.tile_memory_bytes
    most = 2.0 * target.tile_memory_bytes
    problems = _problems(target, params, purpose)
    while True:
        found = _search(problems, limit)
        if found:
            return Choice(tuple(found))
        if limit == math.inf:
            raise InternalError(f"no plan for {params}")
        limit = limit * 2 if 0 < limit * 2 <= most else math.inf


def choose(
    target: Target,
    params: ConvParams,
    purpose: Pass,
    *,
    available_memory: float = AVAILABLE_MEMORY,
) -> Choice:
    """Plan a convolution: least cycles, then least temporary memory, within the memory offered.

    If nothing fits, the bound is doubled up to twice a tile's memory, then dropped.
    """
    return _choose(target, canonical(params), purpose, available_memory)


def _problems(
    target: Target, params: ConvParams, purpose: Pass
) -> list[tuple[Problem, list[Axis]]]:
    swaps = (True, False) if purpose.dense else (False, True)
    made, seen = [], set()
    for how in choices(params, swaps):
        turned = transformed(params, how)
        for method in methods(target, turned, dense=purpose.dense):
            key = (turned, method, how.swap, bool(how.expand), bool(how.flatten_out), how.combine)
            if key in seen:
                continue
            seen.add(key)
            problem = Problem(target, turned, how, method, purpose)
            made.append((problem, axes(turned, method, target.tiles)))
    return [one for one in made if all(len(axis.used) for axis in one[1])]


def _least(problem: Problem, cut: Iterable[Axis]) -> float:
    """Cycles that no partition can be below."""
    target = problem.target
    return math.prod(axis.least for axis in cut) / (target.tiles * problem.method.rate)


def _search(problems: list[tuple[Problem, list[Axis]]], limit: float) -> list[Plan]:
    """The best plans within a memory limit, in order; empty if none fits."""
    ordered = sorted(((_least(*one), *one) for one in problems), key=lambda one: one[0])
    best: list[Plan] = []
    for beam in (BEAM, None):
        for least, problem, cut in ordered:
            bound = float(best[-1].total) if len(best) == SHOWN else math.inf
            if least >= bound:
                break
            best = _merge(best, _look(problem, cut, limit, bound, beam))
    return best


def _merge(old: list[Plan], new: list[Plan]) -> list[Plan]:
    merged = sorted([*old, *new], key=lambda plan: (plan.total, plan.temp_bytes))
    kept: list[Plan] = []
    for plan in merged:
        if not any(plan.row == one.row and plan.problem == one.problem for one in kept):
            kept.append(plan)
    return kept[:SHOWN]


def _look(
    problem: Problem, cut: list[Axis], limit: float, bound: float, beam: int | None
) -> list[Plan]:
    """The best rows of one table that are below a bound."""
    table = grow(cut, problem.target.tiles, rate=problem.method.rate, bound=bound, beam=beam)
    table = _hoisted(table)
    if not len(table["used"]):
        return []
    size, parts, temp = evaluate_cheap(problem, table)
    serial = table["in_serial"] * table["out_serial"]
    rough = cost.planned({**parts, "compute": _least_compute(problem, table)}, serial)
    keep = np.flatnonzero((temp <= limit) & (rough < bound))
    if not len(keep):
        return []
    table, parts, temp = take(table, keep), take(parts, keep), temp[keep]
    depth = size["depth"][keep]
    parts["compute"] = cost.compute(problem, table)
    total = cost.planned(parts, serial[keep])
    order = np.lexsort((temp, total))[:SHOWN]
    items = (*cost.EACH, *cost.ONCE, "reduced")
    return [
        Plan(
            problem,
            {name: int(column[row]) for name, column in table.items()},
            {name: int(parts[name][row]) for name in items},
            int(total[row]),
            int(temp[row]),
            int(depth[row]),
        )
        for row in order
        if total[row] < bound or bound == math.inf
    ]


def evaluate_cheap(
    problem: Problem, table: Mapping[str, Ints]
) -> tuple[dict[str, Any], dict[str, Ints], Ints]:
    """Everything but the vertex: tile sizes, itemised cycles, temporary bytes."""
    size = cost.sizes(problem, table)
    parts = cost.exchange(problem, table, size)
    parts |= cost.after(problem, table, size)
    parts |= cost.rearranging(problem, table)
    return size, parts, cost.temp_bytes(problem, table, size, parts)


def _hoisted(table: dict[str, Ints]) -> dict[str, Ints]:
    """Offer each loop over output channels also with its data broadcast before the loop."""
    loops = np.flatnonzero(table["out_serial"] > 1)
    rows = np.concatenate([np.arange(len(table["used"])), loops])
    made = take(table, rows)
    made["hoist"] = (np.arange(len(rows)) >= len(table["used"])).astype(np.int64)
    return made


def _least_compute(problem: Problem, table: Mapping[str, Ints]) -> Ints:
    """Multiply-adds of a tile in a serial step over the method's best rate."""
    params, method = problem.params, problem.method
    work = table["in_group"] * table["in_groups"] * table["out_group"] * table["out_groups"]
    work = work * table["batch"] * table["groups"]
    for d, dim in enumerate(params.dims):
        step = dim.data.dilation // math.gcd(dim.data.dilation, dim.result.stride)
        outs = table[f"field{d}"]
        work = work * (ceil_div(outs, step) if method.skips_zeros else outs)
        work = work * table[f"kernel{d}"]
    return work // method.rate
