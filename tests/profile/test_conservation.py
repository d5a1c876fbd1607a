"""Laws of the profile on programs made at random.

What it charges is what private tile memories really move, element by element; and a run takes the
sum over its supersteps of what the slowest tile of each does. The strict emulator, which knows
nothing of the profile, is the witness of the bytes; vertices are counted one by one.
"""

from __future__ import annotations

import dataclasses
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipuc.codelets.binary import BinaryOp
from ipuc.codelets.unary import UnaryOp
from ipuc.emulator.strict import StrictEmulator
from ipuc.profile.cycles import supersteps
from ipuc.profile.record import profile
from ipuc.program.builder import Builder
from ipuc.program.program import Program
from ipuc.program.steps import ComputeSet
from ipuc.program.tensor import Tensor
from ipuc.target import CATALOGUE

#: Without shared buses an exchange takes as long as the bytes of its busiest tile.
TINY = CATALOGUE["tiny"]
ALONE = dataclasses.replace(TINY, tiles_per_exchange_bus=1)
SIZE = 24


@dataclasses.dataclass(frozen=True)
class Recipe:
    """A program to make.

    Attributes:
        dtype: of all variables.
        called: every step is a function, called once for each of its runs; else it is repeated.
        homes: for every variable, the tile of each of its six pieces.
        steps: (kind, source, other source, destination, tiles of the vertices, runs), in which
            a copy has a shift for its tiles.
    """

    dtype: str
    homes: list[list[int]]
    steps: list[tuple[str, int, int, int, list[int], int]]
    called: bool = False


VARIABLES = 4

recipes = st.builds(
    Recipe,
    st.sampled_from(["float32", "float16"]),
    st.lists(
        st.lists(st.integers(0, 3), min_size=6, max_size=6),
        min_size=VARIABLES,
        max_size=VARIABLES,
    ),
    st.lists(
        st.tuples(
            st.sampled_from(["unary", "shared", "worker", "copy"]),
            st.integers(0, VARIABLES - 1),
            st.integers(0, VARIABLES - 1),
            st.integers(0, VARIABLES - 1),
            st.sampled_from([1, 2, 3, 4, 6]).flatmap(
                lambda n: st.lists(st.integers(0, 3), min_size=n, max_size=n)
            ),
            st.integers(1, 3),
        ),
        min_size=1,
        max_size=6,
    ),
    st.booleans(),
)


def make(recipe: Recipe, target: object = TINY) -> Program:
    """Carry a recipe out; steps that would read and write one variable are left out."""
    assert isinstance(target, type(TINY))
    build = Builder(target)
    tensors = [
        build.constant(f"v{n}", np.full(SIZE, n + 1, recipe.dtype)) for n in range(VARIABLES)
    ]
    for tensor, home in zip(tensors, recipe.homes, strict=True):
        build.map(tensor, list(range(0, SIZE, SIZE // 6)), home)
    for number, (kind, source, other, into, tiles, runs) in enumerate(recipe.steps):
        if into in (source, other):
            continue
        name, used = f"{kind} {number}", (tensors[source], tensors[other], tensors[into])
        with build.function(name) if recipe.called else build.repeat(runs):
            _step(build, name, kind, used, tiles)
        for run in range(runs if recipe.called else 0):
            build.layer = f"{name} run {run}"
            build.call(name)
    build.output("y", tensors[0])
    return build.build()


def _step(
    build: Builder, name: str, kind: str, tensors: tuple[Tensor, Tensor, Tensor], tiles: list[int]
) -> None:
    x, y, out = tensors
    parts = len(tiles)
    if kind == "copy":
        shift = (1 + tiles[0]) * 5
        build.copy_into(out.slice(0, 0, SIZE - shift), x.slice(0, shift, SIZE), name)
        return
    with build.compute_set(name) as made:
        if kind == "shared":
            # Every vertex reads the first part of y: it is sent once, and arrives on many tiles.
            first = build.field(y, [np.zeros(parts, np.int64)], (SIZE // parts,), (1,))
            blocks = {"a": build.blocks(x, [parts]), "out": build.blocks(out, [parts])}
            made.add(BinaryOp("add"), tiles, b=first, **blocks)
            return
        made.workers = "one" if kind == "worker" else "all"
        made.add(UnaryOp("neg"), tiles, x=build.blocks(x, [parts]), out=build.blocks(out, [parts]))


@settings(deadline=None, max_examples=60)
@given(recipes)
def test_private_memories_move_exactly_what_is_charged(recipe: Recipe) -> None:
    program = make(recipe)
    emulator = StrictEmulator(program)
    emulator.run({})
    real: Counter[tuple[str, str, str, int]] = Counter()
    for exchange in emulator.exchanges:
        if exchange.phase != "host":
            for way, column in (("in", exchange.received), ("out", exchange.sent)):
                for tile, count in enumerate(column.tolist()):
                    real[exchange.step, exchange.phase, way, tile] += count
    charged: Counter[tuple[str, str, str, int]] = Counter()
    for step in supersteps(program):
        phases = {"copy": step.before} if step.kind == "copy" else {}
        for phase, traffic in (phases or {"read": step.before, "write": step.after}).items():
            for way, column in (("in", traffic.received), ("out", traffic.sent)):
                for tile, count in enumerate(column.tolist()):
                    charged[step.name, phase, way, tile] += count * step.times
    assert +real == +charged


def busiest(program: Program, emulator: StrictEmulator) -> dict[tuple[str, str], int]:
    """Cycles of every exchange that really took place: 4 bytes a cycle, the busiest tile's."""
    rate = program.target.exchange_bytes_per_cycle
    return {
        (e.step, e.phase): -(-int(max(e.received.max(), e.sent.max())) // rate)
        for e in emulator.exchanges
    }


def slowest(program: Program, made: ComputeSet) -> int:
    """Cycles of the slowest tile of a compute set, vertex by vertex, workers dealt out in turn."""
    target = program.target
    lonely = dataclasses.replace(target, worker_contexts=1)
    together = [0] * target.tiles
    workers = [[0] * target.worker_contexts for _ in together]
    for family in made.families:
        windows = family.windows()
        size = program.variables[family.fields["out"].variable].itemsize
        dealt = [0] * target.tiles
        for tile in family.tile.dense().ravel().tolist():
            if family.workers == "all":
                together[tile] += int(family.codelet.cycles(target, windows, size))
            else:
                place = dealt[tile] % target.worker_contexts
                workers[tile][place] += int(family.codelet.cycles(lonely, windows, size))
                dealt[tile] += 1
    share = target.worker_contexts
    return max(t + share * max(w) for t, w in zip(together, workers, strict=True))


@settings(deadline=None, max_examples=60)
@given(recipes)
def test_a_run_takes_what_the_slowest_tile_of_every_superstep_takes(recipe: Recipe) -> None:
    program = make(recipe, ALONE)
    emulator = StrictEmulator(program)
    emulator.run({})
    exchanges = busiest(program, emulator)
    sets = {made.name: made for made in program.compute_sets()}
    total = 0
    for number, (kind, source, other, into, _, runs) in enumerate(recipe.steps):
        if into in (source, other):
            continue
        name = f"{kind} {number}"
        if kind == "copy":
            step = next(s for s in supersteps(program) if s.name == name)
            # What a copy costs its tiles is no vertex's formula: it has tests of its own.
            compute, phases = int(step.compute.max()), [exchanges[name, "copy"]]
        else:
            compute = slowest(program, sets[name])
            phases = [exchanges[name, "read"], exchanges[name, "write"]]
        barriers = 1 + sum(phase > 0 for phase in phases)
        total += runs * (compute + sum(phases) + barriers * ALONE.sync_cycles)
    found = profile(program)
    cycles = found.cycles
    assert cycles["total"] == total
    assert total == sum(step.cycles * step.times for step in found.steps)
    assert cycles["total"] == cycles["compute"] + cycles["exchange"] + cycles["sync"]


@settings(deadline=None, max_examples=30)
@given(recipes)
def test_every_run_of_a_function_belongs_to_the_layer_that_calls_it(recipe: Recipe) -> None:
    called, repeated = (
        supersteps(make(dataclasses.replace(recipe, called=called))) for called in (True, False)
    )
    wanted = [
        (step.name, f"{step.name} run {run}", step.cycles)
        for step in repeated
        for run in range(step.times)
    ]
    assert [(step.name, step.layer, step.cycles * step.times) for step in called] == wanted
    assert [step.again for step in called] == [not name.endswith("run 0") for _, name, _ in wanted]


@settings(deadline=None, max_examples=30)
@given(recipes)
def test_a_shared_bus_never_takes_longer_and_saves_half_at_most(recipe: Recipe) -> None:
    paired, alone = (profile(make(recipe, t)).cycles["exchange"] for t in (TINY, ALONE))
    assert alone / 2 <= paired <= alone


@pytest.mark.parametrize("kind", ["unary", "shared", "worker", "copy"])
def test_recipes_move_bytes(kind: str) -> None:
    """The programs above are worth something: tiles do read what lies on others."""
    recipe = Recipe("float32", [[0] * 6, [1] * 6, [2] * 6, [3] * 6], [(kind, 0, 1, 2, [1, 2], 2)])
    (step,) = supersteps(make(recipe))
    assert step.times == 2
    assert step.before.received.sum() > 0
    assert step.kind == "copy" or step.after.received.sum() > 0
