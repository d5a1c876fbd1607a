"""Cycles of every superstep, tile by tile: compute, exchange, synchronisation.

The bulk-synchronous rule: a superstep takes its slowest tile's exchange, its slowest tile's
compute, and a barrier for each phase. Source: the cost model of Poplar's IPU model, as PopLibs'
planners use it: bytes received / 4, twice as fast for what both tiles of a pair receive alike.

Bytes that cross to another IPU are exchanged in a phase of their own, with a barrier of all IPUs:
it takes as long as its busiest tile or its busiest links (`ipuc.profile.links`). A superstep in
which nothing crosses waits for no other IPU.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from ipuc.profile.copies import copy_cost
from ipuc.profile.exchange import Traffic, reads, writes
from ipuc.profile.links import link_cycles
from ipuc.program.family import VertexFamily
from ipuc.program.program import Program
from ipuc.program.steps import (
    Call,
    ComputeSet,
    Copy,
    Execute,
    If,
    Repeat,
    Sequence,
    Step,
    Sweep,
    belongs,
)
from ipuc.target import Target
from ipuc.types import Ints


@dataclass(slots=True)
class Superstep:
    """One superstep, or several equal ones.

    Attributes:
        name: of the compute set or copy.
        layer: the layer it belongs to.
        layer_pass: forward, backward, ...
        kind: "compute" or "copy".
        times: how often it runs.
        compute: cycles of each tile: int64[tiles].
        before: traffic that brings operands.
        after: traffic that takes results home.
        exchange: exchange cycles of the slowest tile, before and after, and of the links.
        sync: cycles of the barriers.
        vertices: compute vertices by codelet name.
        codelet_cycles: cycles of its vertices by codelet name, summed over vertices; those of one
            worker are worker cycles.
        flops: floating point operations.
        ipu: the IPU that computes; of several, the one with the slowest tile.
        global_exchange: of `exchange`, cycles in which bytes cross to another IPU.
        again: the program has run the same step before, for another layer that calls the same
            function: its code and its vertices exist already.
    """

    name: str
    layer: str
    layer_pass: str
    kind: str
    times: int
    compute: Ints
    before: Traffic
    after: Traffic
    exchange: int
    sync: int
    vertices: dict[str, int]
    codelet_cycles: dict[str, int]
    flops: int
    ipu: int = 0
    global_exchange: int = 0
    again: bool = False

    @property
    def links(self) -> Ints:
        """Bytes from each IPU to each other, in one run: int64[ipus, ipus]."""
        return self.before.links + self.after.links

    @property
    def cycles(self) -> int:
        """Cycles of one run."""
        return int(self.compute.max(initial=0)) + self.exchange + self.sync


def step_costs(
    program: Program, progress: Callable[[int, int], None] | None = None
) -> dict[int, list[Superstep]]:
    """Cost every step that computes or copies, once: its supersteps by the `id` of the step.

    A sweep has a superstep for each of its positions, any other step has one.
    """
    known: dict[int, list[Superstep]] = {}
    passes = {layer.name: layer.layer_pass for layer in program.layers}
    wanted = [step for step in program.bodies() if isinstance(step, Execute | Sweep | Copy)]
    for number, step in enumerate(wanted):
        if id(step) not in known:
            known[id(step)] = _cost(program, step)
            if isinstance(step, Copy):
                (made,) = known[id(step)]
                made.layer_pass = passes.get(step.layer, made.layer_pass)
        if progress is not None:
            progress(number + 1, len(wanted))
    return known


def supersteps(
    program: Program, costs: Mapping[int, list[Superstep]] | None = None
) -> list[Superstep]:
    """List every superstep of a program in the order in which they run.

    The branches of an If count as if both ran; host streams cost nothing here.

    Args:
        program: it has passed the verifier.
        costs: what `step_costs` found, if that is known already.
    """
    known = step_costs(program) if costs is None else costs
    found: list[Superstep] = []
    seen: set[int] = set()
    for step, times, call in _flat(program, program.main, 1, None):
        for made in known[id(step)]:
            again = dataclasses.replace(made, times=times, again=id(step) in seen)
            if call is not None:
                again.layer, again.layer_pass = call.layer, call.layer_pass
            found.append(again)
        seen.add(id(step))
    return found


def _flat(
    program: Program, step: Step, times: int, call: Call | None
) -> Iterator[tuple[Execute | Sweep | Copy, int, Call | None]]:
    """The steps that cost cycles, with how often each runs, and the call it belongs to."""
    match step:
        case Execute() | Sweep() | Copy():
            yield step, times, call
        case Sequence():
            for child in step.steps:
                yield from _flat(program, child, times, call)
        case Repeat():
            yield from _flat(program, step.body, times * step.count, call)
        case If():
            yield from _flat(program, step.then, times, call)
            yield from _flat(program, step.otherwise, times, call)
        case Call():
            body = program.functions[step.function]
            yield from _flat(program, body, times, belongs(step, call))


def _cost(program: Program, step: Execute | Sweep | Copy) -> list[Superstep]:
    if isinstance(step, Copy):
        return [_copy(program, step)]
    sets = [step.compute_set]
    if isinstance(step, Sweep):
        sets = [step.at(index) for index in range(step.count)]
    return [_compute_set(program, compute_set) for compute_set in sets]


def _copy(program: Program, copy: Copy) -> Superstep:
    target = program.target
    traffic, cycles = copy_cost(program, copy)
    none = Traffic.none(target.all_tiles, target.ipus)
    return Superstep(
        copy.name,
        copy.layer,
        "forward",
        "copy",
        1,
        cycles,
        traffic,
        none,
        exchange_cycles(target, traffic),
        target.sync_cycles + barrier_cycles(target, traffic),
        {},
        {},
        0,
        _ipu(target, cycles),
        global_cycles(target, traffic),
    )


def _compute_set(program: Program, compute_set: ComputeSet) -> Superstep:
    target = program.target
    before = reads(program, compute_set.families)
    after = writes(program, compute_set.families)
    compute = compute_cycles(program, compute_set)
    vertices: dict[str, int] = {}
    spent: dict[str, int] = {}
    flops = 0
    for family in compute_set.families:
        name = family.codelet.name
        vertices[name] = vertices.get(name, 0) + family.count
        spent[name] = spent.get(name, 0) + vertex_cycles(program, family) * family.count
        flops += family.codelet.flops(family.windows()) * family.count
    origin = compute_set.families[0].origins[0] if compute_set.families[0].origins else None
    return Superstep(
        compute_set.name,
        origin.layer if origin else "",
        origin.layer_pass if origin else "",
        "compute",
        1,
        compute,
        before,
        after,
        sum(exchange_cycles(target, traffic) for traffic in (before, after)),
        target.sync_cycles + sum(barrier_cycles(target, traffic) for traffic in (before, after)),
        vertices,
        spent,
        flops,
        _ipu(target, compute),
        sum(global_cycles(target, traffic) for traffic in (before, after)),
    )


def _ipu(target: Target, compute: Ints) -> int:
    return int(compute.argmax()) // target.tiles


def exchange_cycles(target: Target, traffic: Traffic) -> int:
    """Cycles in which the slowest tile, and the slowest links, have carried their bytes."""
    return local_cycles(target, traffic) + global_cycles(target, traffic)


def local_cycles(target: Target, traffic: Traffic) -> int:
    """The part of that in which bytes stay on their IPU."""
    return int(busy_cycles(target, traffic).max(initial=0))


def global_cycles(target: Target, traffic: Traffic) -> int:
    """The part of that in which bytes go to another IPU."""
    if target.ipus == 1:
        return 0
    slowest = int(global_busy_cycles(target, traffic).max(initial=0))
    return max(slowest, link_cycles(target, traffic.links))


def barrier_cycles(target: Target, traffic: Traffic) -> int:
    """Cycles of the barriers of an exchange: of its IPU, of all IPUs, of both, or none."""
    local, distant = local_cycles(target, traffic), global_cycles(target, traffic)
    return bool(local) * target.sync_cycles + bool(distant) * target.external_sync_cycles


def busy_cycles(target: Target, traffic: Traffic) -> Ints:
    """Cycles in which each tile receives or sends on its IPU: int64[tiles].

    What both tiles of a pair receive comes at twice the rate.
    """
    shared = traffic.paired // 2 if target.tiles_per_exchange_bus > 1 else 0
    received = traffic.received - traffic.came - shared
    most: Ints = np.maximum(received, traffic.sent - traffic.went)
    return -(-most // target.exchange_bytes_per_cycle)


def global_busy_cycles(target: Target, traffic: Traffic) -> Ints:
    """Cycles in which each tile receives from another IPU or sends there: int64[tiles]."""
    most: Ints = np.maximum(traffic.came, traffic.went)
    return -(-most // target.exchange_bytes_per_cycle)


def vertex_cycles(program: Program, family: VertexFamily) -> int:
    """Cycles of one vertex of a family, by its codelet's formula.

    Returns:
        Cycles of the tile if all its workers run the vertex. Cycles of one worker, each of which
        is as many cycles of the tile as there are workers, if one worker runs it: the formula on
        a tile that has no other.
    """
    sizes = {n: program.variables[a.variable].itemsize for n, a in family.fields.items()}
    itemsize = family.codelet.itemsize(sizes)
    target = program.target
    if family.workers == "one":
        target = dataclasses.replace(target, worker_contexts=1)
    return int(family.codelet.cycles(target, family.windows(), itemsize))


def compute_cycles(program: Program, compute_set: ComputeSet) -> Ints:
    """Cycles of each tile in a compute set: int64[tiles].

    Vertices that all workers run come one after another. Those that take one worker are dealt
    out to the workers in order, and the tile waits for the worker with most to do: a worker has
    one issue slot in W, so its cycles count W times.
    Source: PopLibs' estimators of tiles with single-worker vertices.
    """
    tiles, workers = program.target.all_tiles, program.target.worker_contexts
    together = np.zeros(tiles, np.int64)
    alone = np.zeros((tiles, workers), np.int64)
    dealt = np.zeros(tiles, np.int64)
    for family in compute_set.families:
        cost = vertex_cycles(program, family)
        count = np.bincount(family.tile.dense().reshape(-1), minlength=tiles)
        if family.workers == "all":
            together += count * cost
            continue
        # Worker w gets places w, w + W, ... of the tile's own order: all of a family cost alike.
        first = (np.arange(workers) - dealt[:, None]) % workers
        alone += -(-np.maximum(count[:, None] - first, 0) // workers) * cost
        dealt += count
    slowest: Ints = alone.max(axis=1)
    return together + workers * slowest
