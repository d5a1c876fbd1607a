"""Find the best plan of a convolution among all transforms, vertex types and partitions."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ipuc.codelets.cycles import amp
from ipuc.codelets.define import ceil_div
from ipuc.errors import InternalError
from ipuc.planner.plan import EVEN, WIDE
from ipuc.planner.poplin import cost
from ipuc.planner.poplin.cost import Pass, Problem
from ipuc.planner.poplin.methods import methods
from ipuc.planner.poplin.params import ConvParams, canonical
from ipuc.planner.poplin.table import MOST_ROWS, SLICE_CYCLES, Axis, axes, grow, take
from ipuc.planner.poplin.transforms import Transforms, choices, transformed
from ipuc.target import Target
from ipuc.types import Ints

#: Plans kept: the chosen one and the next four.
SHOWN = 5
#: Rows of the first, quick look at each table.
BEAM = 4000
#: What a plan also records, beside cycles: elements or bytes on the fullest tile.
SIZES = (
    "reduced",
    "partial_bytes",
    "buffer_bytes",
    "copied_bytes",
    "move_data",
    "move_weights",
    "move_out",
)
#: Share of a tile's memory that a convolution may use for what lives only while it runs.
AVAILABLE_MEMORY = 0.6


@dataclass(frozen=True, slots=True)
class Plan:
    """One way to run a convolution, with what it costs.

    Attributes:
        problem: convolution, transforms and vertex type.
        row: choices and tile sizes by name (`used`, `out_split`, `out_serial`, `field0`, ...).
        items: cycles by item of one serial step, or of the whole; `cost.EACH` and `cost.ONCE`;
            and the figures of `SIZES`.
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
        return self.row["out_serial"]

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
            "splits": splits,
            "serial": self.serial,
            "tiles": self.row["used"],
            "cycles": self.total,
            "temp_bytes": self.temp_bytes,
            "costs": {n: v for n, v in self.items.items() if v and n not in SIZES},
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
def _choose(
    target: Target,
    params: ConvParams,
    purpose: Pass,
    available_memory: float,
    partial: int,
    wide: bool,
) -> Choice:
    limit = available_memory * target.tile_memory_bytes
    most = 2.0 * target.tile_memory_bytes
    problems = _problems(target, params, purpose, partial)
    while True:
        found, least = _search(problems, limit, wide=wide)
        if found or (wide and limit == math.inf):
            return Choice(tuple(found))
        if limit == math.inf:
            raise InternalError(f"no plan for {params}")
        while limit < least:
            limit = limit * 2 if 0 < limit * 2 <= most else math.inf


def choose(
    target: Target,
    params: ConvParams,
    purpose: Pass,
    *,
    available_memory: float = AVAILABLE_MEMORY,
    partial: int = 4,
    wide: bool = False,
) -> Choice:
    """Plan a convolution: least cycles, then least temporary memory, within the memory offered.

    If nothing fits, the bound is doubled up to twice a tile's memory, then dropped.

    Args:
        target: the machine.
        params: the convolution.
        purpose: the pass.
        available_memory: share of a tile's memory that may be used meanwhile.
        partial: bytes of a partial sum of halves.
        wide: only plans that use most of the chip, evenly (`plan.WIDE`, `plan.EVEN`).

    Returns:
        The plans; none only if a wide one was asked for and there is none.
    """
    return _choose(target, canonical(params), purpose, available_memory, partial, wide)


def choose_as(
    target: Target,
    params: ConvParams,
    purpose: Pass,
    partial: int,
    how: Transforms,
    method: str,
    wanted: Mapping[str, int],
) -> Plan | None:
    """The plan with given transforms, method and choices; None if there is no such plan.

    Args:
        target: the machine.
        params: the convolution.
        purpose: the pass.
        partial: bytes of a partial sum of halves.
        how: the transforms; `dilate_after` is as the parameters have it.
        method: name of the vertex type.
        wanted: choices by name (`out_split`, `in_group`, ...).
    """
    found: list[Plan] = []
    for problem in _problems(target, canonical(params), purpose, partial):
        mine = replace(problem.transforms, dilate_after=how.dilate_after)
        if mine != how or problem.method.name != method:
            continue
        cut = [_only(axis, wanted) for axis in axes(problem.params, problem.method, target.tiles)]
        if all(len(axis.used) for axis in cut):
            made, _ = _look(problem, cut, math.inf, math.inf, quick=False, wide=False)
            found = _merge(found, made)
    return found[0] if found else None


def _only(axis: Axis, wanted: Mapping[str, int]) -> Axis:
    """The ways to cut an axis that fit."""
    keep = np.ones(len(axis.used), bool)
    for name, column in axis.columns.items():
        if name in wanted:
            keep &= column == wanted[name]
    columns = {name: column[keep] for name, column in axis.columns.items()}
    return Axis(columns, axis.used[keep], axis.work[keep], axis.steps[keep])


def _problems(target: Target, params: ConvParams, purpose: Pass, partial: int) -> list[Problem]:
    swaps = (True, False) if purpose.dense else (False, True)
    made, seen = [], set()
    for how in choices(params, swaps):
        turned = transformed(params, how)
        for method in methods(target, turned, dense=purpose.dense, partial=partial):
            key = (turned, method, how.swap, bool(how.expand), bool(how.flatten_out))
            if key in seen:
                continue
            seen.add(key)
            made.append(Problem(target, turned, how, method, purpose))
    return made


def _least(problem: Problem) -> float:
    """Cycles that no partition can be below."""
    work = problem.params.macs
    for dim in problem.params.dims:
        work //= dim.step
    return work / (problem.target.tiles * problem.method.rate)


def _search(problems: list[Problem], limit: float, *, wide: bool) -> tuple[list[Plan], float]:
    """The best plans within a memory limit, in order, and the least memory of any row seen."""
    ordered = sorted(problems, key=_least)
    tables: dict[int, list[Axis]] = {}
    best: list[Plan] = []
    needed = math.inf
    for quick in (True, False):
        for index, problem in enumerate(ordered):
            bound = float(best[-1].total) if len(best) == SHOWN else math.inf
            if _least(problem) >= bound:
                break
            if index not in tables:
                tables[index] = axes(problem.params, problem.method, problem.target.tiles)
            cut = tables[index]
            if all(len(axis.used) for axis in cut):
                found, least = _look(problem, cut, limit, bound, quick=quick, wide=wide)
                best, needed = _merge(best, found), min(needed, least)
    return best, needed


def _merge(old: list[Plan], new: list[Plan]) -> list[Plan]:
    merged = sorted([*old, *new], key=lambda plan: (plan.total, plan.temp_bytes))
    kept: list[Plan] = []
    for plan in merged:
        if not any(plan.row == one.row and plan.problem == one.problem for one in kept):
            kept.append(plan)
    return kept[:SHOWN]


def _look(
    problem: Problem, cut: list[Axis], limit: float, bound: float, *, quick: bool, wide: bool
) -> tuple[list[Plan], float]:
    """The best rows of one table that are below a bound, and the least memory of any row."""
    table = grow(
        cut,
        problem.target.tiles,
        rate=problem.method.rate,
        bound=bound,
        step_cycles=_least_copies(problem, cut),
        most=BEAM if quick else MOST_ROWS,
        loops=not quick,
    )
    if not len(table["used"]):
        return [], math.inf
    # First what is cheap to know, so that the dear columns are made for few rows.
    table = _promising(problem, table, bound)
    if wide:
        even = cost.balance(problem, table) <= EVEN
        table = take(table, (table["used"] > WIDE * problem.target.tiles) & even)
    size, parts, temp = evaluate_cheap(problem, table)
    serial = table["out_serial"]
    rough = cost.planned({**parts, "compute": _least_compute(problem, table)}, serial)
    keep = np.flatnonzero((temp <= limit) & (rough < bound))
    least = float(temp.min(initial=1 << 62))
    if not len(keep):
        return [], least
    table, parts, temp = take(table, keep), take(parts, keep), temp[keep]
    depth = size["depth"][keep]
    parts["compute"] = cost.compute(problem, table)
    total = cost.planned(parts, serial[keep])
    order = np.lexsort((temp, total))[:SHOWN]
    items = (*cost.EACH, *cost.ONCE, *SIZES)
    found = [
        Plan(
            problem,
            {name: int(column[row]) for name, column in table.items()},
            {name: int(parts[name][row]) for name in items},
            int(total[row]),
            int(temp[row]),
            int(depth[row]),
        )
        for row in order
        if total[row] < bound
    ]
    return found, least


def _promising(problem: Problem, table: dict[str, Ints], bound: float) -> dict[str, Ints]:
    """Rows that multiply-adds, weights and partial sums alone do not put above a bound."""
    size = cost.sizes(problem, table)
    rate = problem.target.exchange_bytes_per_cycle
    weights = size["weights"] - size["weights"] // size["weight_users"]
    moved = weights * problem.params.itemsize + size["result"] * problem.method.partial
    each = _least_compute(problem, table) + moved // rate
    steps = table["out_serial"]
    return take(table, np.flatnonzero(steps * (each + (steps > 1) * SLICE_CYCLES) < bound))


def evaluate(problem: Problem, table: Mapping[str, Ints]) -> tuple[dict[str, Ints], Ints, Ints]:
    """Every itemised cost, the planned total and the temporary bytes of candidates.

    Args:
        problem: what is planned.
        table: columns of `table.grow`.
    """
    _, parts, temp = evaluate_cheap(problem, table)
    parts["compute"] = cost.compute(problem, table)
    return parts, cost.planned(parts, table["out_serial"]), temp


def evaluate_cheap(
    problem: Problem, table: Mapping[str, Ints]
) -> tuple[dict[str, Any], dict[str, Ints], Ints]:
    """Everything but the vertex: tile sizes, itemised cycles, temporary bytes."""
    size = cost.sizes(problem, table)
    parts = cost.exchange(problem, table, size)
    parts |= cost.after(problem, table, size)
    parts |= cost.rearranging(problem, table)
    return size, parts, cost.temp_bytes(problem, table, size, parts)


def _least_copies(problem: Problem, cut: Iterable[Axis]) -> float:
    """Cycles that rearranging takes in every serial step, whatever the partition."""
    tiles = problem.target.tiles
    groups = {
        f"{name}_group": axis.columns[f"{name}_group"]
        for axis in cut
        for name in ("in", "out")
        if f"{name}_group" in axis.columns
    }
    ins, outs = (
        column.ravel()
        for column in np.meshgrid(*(np.unique(groups[name]) for name in ("in_group", "out_group")))
    )
    table = {"in_group": ins, "out_group": outs, "used": np.full(len(ins), tiles)}
    parts = cost.rearranging(problem, table)
    return float((parts["rearrange"] + parts["rearrange_exchange"]).min())


def _least_compute(problem: Problem, table: Mapping[str, Ints]) -> Ints:
    """Multiply-adds of a tile in a serial step over the method's best rate, and weight loads."""
    params, method, target = problem.params, problem.method, problem.target
    blocks = table["in_groups"] * table["out_groups"] * table["groups"]
    work = blocks * table["in_group"] * table["out_group"] * table["batch"]
    for d, dim in enumerate(params.dims):
        work = work * ceil_div(table[f"field{d}"], dim.step)
        work = work * table[f"kernel{d}"]
    if method.name != "AMP":
        return work // method.rate
    units = amp.conv_units(target, params.itemsize, method.partial)
    fused = amp.weights_per_unit(params.itemsize) // table["in_group"]
    loads = blocks * ceil_div(table["out_group"], units) * ceil_div(table["kernel0"], fused)
    for d in range(1, len(params.dims)):
        loads = loads * table[f"kernel{d}"]
    load = units * 32 // target.coefficient_load_bytes_per_cycle
    least: Ints = work // method.rate + loads * load
    return least
