"""Which layers run on which IPU: contiguous parts of the program, one for each.

Layers run one after another, whatever IPU they are on: several IPUs have more memory than one,
and their layers are no faster. (Poplar's pipelining, in which all IPUs work at once on different
batches, is not modelled.)

The model is lowered for one IPU first, whether or not it fits. What its layers take there decides:

- `memory`: the fullest tile of the fullest IPU needs as little as possible;
- `cycles`: the IPU with most cycles, those in which links bring what it needs from the one before
  included, has as few as possible. Of all cuts that come within 5 % of that, the one is taken
  that sends the fewest bytes over links;
- `auto`: as `cycles`, among the cuts with which every IPU is expected to fit with 5 % to spare; as
  `memory` if there is none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ipuc.errors import OptionError, nearest
from ipuc.graph.ir import Graph
from ipuc.profile.links import link_cycles
from ipuc.profile.record import Profile
from ipuc.target import Target
from ipuc.types import Ints

#: What `--shard` takes beside the names of layers.
RULES = ("auto", "cycles", "memory")
#: How much worse than the best the worst IPU may be, to save bytes on links.
SLACK = 0.05
#: The part of a tile that an IPU may be expected to need: on the models of the zoo IPUs need up to
#: 2 % more than expected, and gaps between variables, which are not foreseen, come on top.
EXPECTED = 0.95
#: Memory categories of which every IPU has its own, whatever layers it runs. That every IPU has
#: vertices of every kind is a little too much.
_FIXED = (
    "Stack",
    "Control Code",
    "Host Exchange Code",
    "Host Exchange Packet Headers",
    "Vertex Code",
)
_EXCHANGE = "Internal Exchange Code"

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class LayerCosts:
    """What each layer takes when all run on one IPU.

    Attributes:
        cycles: of every layer, exchange and barriers included: int64[layers].
        always: bytes that are always live: int64[layers, tiles].
        changing: most bytes that are not always live while the layer runs: int64[layers, tiles].
        fixed: bytes that every IPU takes: int64[tiles].
        crossing: bytes of values that a cut before the layer parts from readers: int64[layers].
        limit: bytes that a tile has.
    """

    cycles: Ints
    always: Ints
    changing: Ints
    fixed: Ints
    crossing: Ints
    limit: int


def check_rule(rule: str, graph: Graph, ipus: int) -> tuple[int, ...] | None:
    """Read what `--shard` says.

    Returns:
        The first layer of every IPU but the first, if they are named; None for a rule.

    Raises:
        OptionError: there are fewer layers than IPUs; or a named layer does not exist, stands
            before an earlier one, or there are too few or too many of them.
    """
    count = len(graph.nodes)
    if count < ipus:
        raise OptionError(
            f"the model has {count} layers, too few for {ipus} IPUs",
            where="--ipus",
            fix=f"use at most {max(count, 1)}",
        )
    if rule in RULES:
        return None
    known: dict[str, int] = {}
    for index, node in enumerate(graph.nodes):
        for name in (node.name, *node.origins):
            known.setdefault(name, index)
    names = [rule] if rule in known else [name.strip() for name in rule.split(",")]
    for name in names:
        if name not in known:
            raise OptionError(
                f'there is no layer "{name}"',
                where="--shard",
                fix=f"{nearest(name, [*RULES, *known])}; ipuc profile lists the layers",
            )
    if len(names) != ipus - 1:
        raise OptionError(
            f"{ipus} IPUs have {ipus - 1} first layers beside the first, {len(names)} are named",
            where="--shard",
            fix="name the first layer of every IPU but the first",
        )
    firsts = [known[name] for name in names]
    for before, first, name in zip([0, *firsts], firsts, names, strict=False):
        if first <= before:
            raise OptionError(
                f'"{name}" is no later layer than the one before it',
                where="--shard",
                fix="name layers in the order in which they run, without the very first",
            )
    return tuple(firsts)


def cut(costs: LayerCosts, machine: Target, rule: str) -> tuple[int, ...]:
    """Share layers out by a rule.

    Args:
        costs: of at least as many layers as there are IPUs.
        machine: all IPUs.
        rule: one of `RULES`.

    Returns:
        The first layer of every IPU but the first.
    """
    memory = segment_bytes(costs)
    anything = np.isfinite(memory)
    every = [memory] * machine.ipus
    worst, limit = _least_worst(every, anything), EXPECTED * costs.limit
    if rule == "memory" or (rule == "auto" and worst > limit):
        return _fewest_bytes(costs.crossing, [anything & (one <= worst) for one in every])
    allowed = anything if rule == "cycles" else anything & (memory <= limit)
    cycles = [_segment_cycles(costs, machine, ipu) for ipu in range(machine.ipus)]
    most = (1 + SLACK) * _least_worst(cycles, allowed)
    return _fewest_bytes(costs.crossing, [allowed & (one <= most) for one in cycles])


def segment_bytes(costs: LayerCosts) -> Floats:
    """Bytes on the fullest tile of an IPU that runs layers i to j - 1: [layers + 1, layers + 1].

    Infinite where that is no layer at all.
    """
    count = len(costs.cycles)
    need = np.full((count + 1, count + 1), np.inf)
    for first in range(count):
        always = np.cumsum(costs.always[first:], axis=0)
        changing = np.maximum.accumulate(costs.changing[first:], axis=0)
        need[first, first + 1 :] = (costs.fixed + always + changing).max(axis=1)
    return need


def _segment_cycles(costs: LayerCosts, machine: Target, ipu: int) -> Floats:
    """Cycles of an IPU that runs layers i to j - 1, with those in which its operands arrive."""
    ends = np.concatenate([[0.0], np.cumsum(costs.cycles)])
    cycles: Floats = ends[None, :] - ends[:, None]
    if ipu:
        many = np.zeros((machine.ipus, machine.ipus), np.int64)
        many[ipu - 1, ipu] = 1 << 30
        cycles[:-1] += (costs.crossing * (link_cycles(machine, many) / (1 << 30)))[:, None]
    return cycles


def _least_worst(cost: Sequence[Floats], allowed: Flags) -> float:
    """The least that the costliest part can have; `cost` is that of parts on each IPU."""
    worst = np.where(allowed, cost[0], np.inf)[0]
    for one in cost[1:]:
        usable = np.where(allowed, one, np.inf)
        worst = np.maximum(worst[:, None], usable).min(axis=0)
    return float(worst[-1])


def _fewest_bytes(crossing: Ints, allowed: Sequence[Flags]) -> tuple[int, ...]:
    """Of all ways to make parts that each IPU is allowed, the one with fewest bytes at its cuts."""
    price = np.append(crossing, 0).astype(float)[:, None]
    total = np.where(allowed[0][0], 0.0, np.inf)
    came_from = []
    for one in allowed[1:]:
        sums = total[:, None] + np.where(one, price, np.inf)
        came_from.append(sums.argmin(axis=0))
        total = sums.min(axis=0)
    firsts = [len(crossing)]
    for best in reversed(came_from):
        firsts.append(int(best[firsts[-1]]))
    return tuple(reversed(firsts[1:]))


def measure(graph: Graph, found: Profile) -> LayerCosts:
    """Find what the layers of a graph take on one IPU.

    Args:
        graph: what was lowered.
        found: profile of its program for one IPU.
    """
    layers = {node.name: index for index, node in enumerate(graph.nodes)}
    memory, tiles = found.memory, found.program.target.all_tiles
    cycles = np.zeros(len(layers), np.int64)
    for step in found.steps:
        if step.layer in layers:
            cycles[layers[step.layer]] += step.cycles * step.times
    changing = np.zeros((len(layers), tiles), np.int64)
    for row, program_step in enumerate(memory.lives.steps):
        if program_step.layer in layers:
            most = changing[layers[program_step.layer]]
            np.maximum(most, memory.not_always[row], out=most)
    always = np.zeros((len(layers), tiles), np.int64)
    for variable in found.program.variables:
        if memory.lives.always[variable.id] and variable.origin in layers:
            always[layers[variable.origin]] += memory.held[variable.id]
    fixed = np.zeros(tiles, np.int64)
    fixed += sum(memory.always.get(name, np.zeros_like(fixed)) for name in _FIXED)
    exchange = memory.always.get(_EXCHANGE, np.zeros_like(fixed))
    rest = np.maximum(memory.always_bytes - fixed - exchange - always.sum(axis=0), 0)
    always += _by_messages(found, layers, exchange) + _by_fields(found, layers, rest)
    limit = found.program.target.tile_memory_bytes
    return LayerCosts(cycles, always, changing, fixed, _crossing(graph, found), limit)


def _by_messages(found: Profile, layers: dict[str, int], rest: Ints) -> Ints:
    """Share exchange code of each tile out by the pieces that it sends and receives."""
    messages = np.zeros((len(layers), len(rest)))
    for step in found.steps:
        if step.layer in layers:
            for traffic in (step.before, step.after):
                messages[layers[step.layer]] += traffic.fragments + traffic.sends
    return _shares(messages, rest)


def _by_fields(found: Profile, layers: dict[str, int], rest: Ints) -> Ints:
    """Share vertex state, pointers and worklists of each tile out by its vertices' fields."""
    fields = np.zeros((len(layers), len(rest)))
    for family in found.program.families():
        mine = [layers[o.layer] for o in family.origins if o.layer in layers]
        count = np.bincount(family.tile.dense().reshape(-1), minlength=len(rest))
        for layer in mine:
            fields[layer] += count * (1 + family.edges() / family.count) / len(mine)
    return _shares(fields, rest)


def _shares(weights: Floats, rest: Ints) -> Ints:
    """Bytes of each tile by the weights of layers there, rounded up: int64[layers, tiles]."""
    share = weights / np.maximum(weights.sum(axis=0), 1)
    shared: Ints = np.ceil(share * rest).astype(np.int64)
    return shared


def _crossing(graph: Graph, found: Profile) -> Ints:
    """Bytes of the values that are made before each layer and read by it or a later one."""
    made: dict[str, int] = {}
    last: dict[str, int] = {}
    for index, node in enumerate(graph.nodes):
        for name in filter(None, node.inputs):
            made.setdefault(name, index)  # what no layer makes lies where it is first read
            last[name] = index
        made |= dict.fromkeys(filter(None, node.outputs), index)
    total = np.zeros(len(graph.nodes), np.int64)
    for name, index in last.items():
        tensor = found.program.values.get(name)
        if tensor is not None:
            total[made[name] + 1 : index + 1] += tensor.size * np.dtype(tensor.dtype).itemsize
    return total


def names_of(graph: Graph, firsts: Sequence[int]) -> list[str]:
    """Names of the layers at which IPUs but the first begin."""
    return [graph.nodes[index].name for index in firsts]
