"""Cycles: against a vertex-by-vertex count, and laws that any program keeps."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipuc import zoo
from ipuc.codelets.unary import UnaryOp
from ipuc.pipeline import compile_model
from ipuc.planner.context import Granularity
from ipuc.profile.cycles import compute_cycles, supersteps
from ipuc.program.builder import Builder
from ipuc.program.program import Program
from ipuc.program.steps import ComputeSet
from ipuc.target import CATALOGUE, parse_target

TINY = CATALOGUE["tiny"]


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return zoo.write("digits", tmp_path_factory.mktemp("models") / "digits.onnx")


def one_by_one(program: Program, compute_set: ComputeSet) -> list[int]:
    """Cycles of every tile: each vertex in turn, single workers dealt out like cards."""
    target = program.target
    lonely = dataclasses.replace(target, worker_contexts=1)
    together = [0] * target.tiles
    alone = [[0] * target.worker_contexts for _ in range(target.tiles)]
    dealt = [0] * target.tiles
    for family in compute_set.families:
        size = max(program.variables[a.variable].itemsize for a in family.fields.values())
        for tile in family.tile.dense().ravel().tolist():
            if family.workers == "all":
                together[tile] += int(family.codelet.cycles(target, family.windows(), size))
            else:
                cost = int(family.codelet.cycles(lonely, family.windows(), size))
                alone[tile][dealt[tile] % target.worker_contexts] += cost
                dealt[tile] += 1
    workers = target.worker_contexts
    return [t + workers * max(a) for t, a in zip(together, alone, strict=True)]


@pytest.mark.parametrize("granularity", ["tile", "worker", "fine"])
def test_compute_cycles_against_vertex_by_vertex(digits: Path, granularity: Granularity) -> None:
    program = compile_model(digits, target=parse_target("tiny,tiles=16"), granularity=granularity)
    for compute_set in program.compute_sets():
        assert compute_cycles(program, compute_set).tolist() == one_by_one(program, compute_set)


def test_which_vertices_take_one_worker(digits: Path) -> None:
    coarse = compile_model(digits, target=TINY, granularity="tile")
    assert {family.workers for family in coarse.families()} == {"all"}
    fine = compile_model(digits, target=TINY, granularity="worker")
    by_name = {family.codelet.name: family.workers for family in fine.families()}
    assert by_name["ConvPartialnx1InOut"] == "all"
    assert {w for name, w in by_name.items() if name != "ConvPartialnx1InOut"} == {"one"}


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.tuples(st.integers(1, 40), st.lists(st.integers(0, 3), min_size=1, max_size=15)),
        min_size=1,
        max_size=4,
    ),
    st.integers(1, 7),
)
def test_uneven_vertices_are_dealt_out(families: list[tuple[int, list[int]]], workers: int) -> None:
    target = dataclasses.replace(TINY, worker_contexts=workers)
    build = Builder(target)
    x = build.constant("x", np.zeros(2400, np.float32))
    build.workers = "one"
    with build.compute_set("uneven") as uneven:
        begin = 0
        for number, (size, tiles) in enumerate(families):
            out = build.variable(f"out {number}", "float32", (len(tiles) * size,))
            begins = np.arange(len(tiles)) * size
            access = build.field(x, [begins + begin], (size,), (1,))
            into = build.field(out, [begins], (size,), (1,))
            uneven.workers = "all" if number == 1 else "one"
            uneven.add(UnaryOp("exp"), tiles, x=access, out=into)
            begin += len(tiles) * size
    build.map_rest()
    program = build.build()
    (made,) = program.compute_sets()
    assert compute_cycles(program, made).tolist() == one_by_one(program, made)


def test_six_workers_run_six_vertices_in_the_time_of_one() -> None:
    def cycles(vertices: int) -> int:
        build = Builder(TINY)
        x = build.constant("x", np.zeros(20 * vertices, np.float32))
        out = build.variable("out", "float32", (20 * vertices,))
        build.workers = "one"
        with build.compute_set("exp") as exp:
            blocks = {"x": build.blocks(x, [vertices]), "out": build.blocks(out, [vertices])}
            exp.add(UnaryOp("exp"), [0] * vertices, **blocks)
        build.map_rest()
        program = build.build()
        return int(compute_cycles(program, program.compute_sets()[0])[0])

    assert cycles(1) == cycles(6) > 0
    assert cycles(7) == cycles(12) == 2 * cycles(6)


def test_a_superstep_takes_its_slowest_tile(digits: Path) -> None:
    program = compile_model(digits, target=TINY, granularity="tile")
    for step in supersteps(program):
        slowest = [
            max(
                max((int(r) - int(p) // 2, int(s)))
                for r, p, s in zip(t.received, t.paired, t.sent, strict=True)
            )
            for t in (step.before, step.after)
        ]
        exchange = sum(-(-most // TINY.exchange_bytes_per_cycle) for most in slowest)
        barriers = 1 + sum(most > 0 for most in slowest)
        sync = barriers * TINY.sync_cycles
        assert step.cycles == max(step.compute.tolist()) + exchange + sync


def test_repeated_steps_count_every_time() -> None:
    def total(times: int) -> int:
        build = Builder(TINY)
        x = build.constant("x", np.zeros(8, np.float32))
        out = build.variable("out", "float32", (8,))
        with build.function("again"), build.compute_set("exp") as exp:
            exp.add(UnaryOp("exp"), 0, x=x, out=out)
        with build.repeat(times):
            build.call("again")
        build.call("again")
        build.map_rest()
        return sum(step.cycles * step.times for step in supersteps(build.build()))

    assert total(4) * 2 == total(1) * 5
