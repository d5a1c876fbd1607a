"""Fully connected layers whose weights stay put: numbers against NumPy, places against the law."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ipuc.emulator.run import Emulator
from ipuc.emulator.strict import StrictEmulator
from ipuc.graph.ir import Graph
from ipuc.planner.choices import Choices
from ipuc.planner.context import Context
from ipuc.planner.dense_layer import DenseLayer
from ipuc.planner.poplin.joint import Dense, Passes, choose_passes
from ipuc.planner.precision import FORMATS, Precision
from ipuc.program.builder import Builder
from ipuc.program.family import Access
from ipuc.program.program import Program
from ipuc.program.steps import Copy, Execute, walk
from ipuc.target.catalogue import parse_target

Array = NDArray[Any]
#: Sums of at most some hundred products of numbers below 1; halves are rounded once, at 2**-11 of
#: sums that stay below 16, and their products are added in float32.
TOLERANCE: dict[int, dict[str, Any]] = {
    4: {"rtol": 1e-4, "atol": 1e-4},
    2: {"rtol": 2e-3, "atol": 4e-3},
}
RESULTS = ("y", "dx", "dw")


class Trained:
    """The three passes of one layer, as a program; `joint`: as if separate plans were too large."""

    def __init__(
        self, target: str, dense: Dense, granularity: Any = "tile", *, joint: bool = False
    ) -> None:
        form = FORMATS["mixed" if dense.itemsize == 2 else "float32"]
        graph = Graph("test", [], [], {}, {}, [], 22)
        ctx = Context(Builder(parse_target(target)), graph, granularity, Precision(form))
        batch, ins, outs, itemsize = dense.batch, dense.ins, dense.outs, dense.itemsize
        x = ctx.builder.input("x", form.data, (batch, ins))
        w = ctx.builder.input("w", form.data, (outs, ins))
        dy = ctx.builder.input("dy", form.data, (batch, outs))
        self.layer = DenseLayer(ctx, batch, ins, outs, itemsize)
        if joint and self.layer.passes is not None:
            self.layer.passes = replace(self.layer.passes, fits=False)
        self.records: dict[str, dict[str, Any]] = {}
        self.results = {}
        self.weights = w
        layer = self.layer
        for name, step, operands in (
            ("y", layer.forward, (x, w)),
            ("dx", layer.data_gradient, (dy, w)),
            ("dw", layer.weight_gradient, (x, dy)),
        ):
            ctx.plan = self.records[name] = {}
            self.results[name] = step(*operands, name)
            ctx.builder.output(name, self.results[name])
        ctx.builder.map_rest()
        self.program: Program = ctx.builder.build()

    @property
    def passes(self) -> Passes:
        """What was planned."""
        assert self.layer.passes is not None
        return self.layer.passes

    def received(self) -> int:
        """Elements of W that tiles receive: read by a vertex or a copy that is not where they lie.

        An element that is sent to several tiles counts once for each.
        """
        view = self.weights.view()
        assert view is not None
        tiles = self.program.variables[view.variable].mapped()
        away = 0
        for family, access in reads(self.program, view.variable):
            at = access.offset.dense()
            for extent, stride in zip(access.shape, access.strides, strict=True):
                at = at[..., None] + np.arange(extent) * stride
            home = tiles.tile_of(at).reshape(*family.tile.grid, -1)
            away += int((home != family.tile.dense()[..., None]).sum())
        for step in walk(self.program.main):
            if isinstance(step, Copy):
                sources = (move.source for move in step.moves if move.source is not None)
                away += sum(math.prod(s.shape) for s in sources if s.variable == view.variable)
        return away


def reads(program: Program, variable: int) -> Iterator[tuple[Any, Access]]:
    """Families that read a variable, with the field that does."""
    for step in walk(program.main):
        if isinstance(step, Execute):
            for family in step.compute_set.families:
                for spec in family.codelet.fields:
                    access = family.fields[spec.name]
                    if access.variable == variable and not spec.writes:
                        yield family, access


def operands(dense: Dense, seed: int) -> dict[str, Array]:
    rng = np.random.default_rng(seed)
    shapes = {
        "x": (dense.batch, dense.ins),
        "w": (dense.outs, dense.ins),
        "dy": (dense.batch, dense.outs),
    }
    dtype = np.float16 if dense.itemsize == 2 else np.float32
    return {name: rng.uniform(-1, 1, shape).astype(dtype) for name, shape in shapes.items()}


def hold(dense: Dense, made: dict[str, Array], given_arrays: dict[str, Array]) -> None:
    """Hold the results to NumPy's in float64."""
    x, w, dy = (given_arrays[name].astype(np.float64) for name in ("x", "w", "dy"))
    for name, wanted in zip(RESULTS, (x @ w.T, dy @ w, dy.T @ x), strict=True):
        np.testing.assert_allclose(made[name], wanted, **TOLERANCE[dense.itemsize], err_msg=name)


SIZES = st.sampled_from([1, 2, 3, 7, 16, 24, 40, 97])
LAYERS = st.builds(Dense, st.sampled_from([1, 2, 3, 8, 20]), SIZES, SIZES, st.sampled_from([2, 4]))


@settings(max_examples=60, deadline=None)
@given(
    dense=LAYERS,
    seed=st.integers(0, 9),
    target=st.sampled_from(["tiny", "gc200,tiles=64"]),
    granularity=st.sampled_from(["tile", "tile", "tile", "worker", "fine"]),
    joint=st.booleans(),
)
def test_numbers(dense: Dense, seed: int, target: str, granularity: str, joint: bool) -> None:
    """Uneven blocks, single rows and columns, joint or not."""
    trained = Trained(target, dense, granularity, joint=joint)
    given_arrays = operands(dense, seed)
    hold(dense, Emulator(trained.program).run(given_arrays), given_arrays)


@settings(max_examples=60, deadline=None)
@given(dense=LAYERS, target=st.sampled_from(["tiny", "gc200,tiles=64", "gc200,tiles=187"]))
def test_joint_weights_stay(dense: Dense, target: str) -> None:
    """No tile receives weights, and their gradient is made where they lie."""
    trained = Trained(target, dense, joint=True)
    assert trained.received() == 0
    at, made = trained.weights.view(), trained.results["dw"].view()
    assert at is not None
    assert made is not None
    homes = [trained.program.variables[v.variable].mapped() for v in (at, made)]
    size = dense.ins * dense.outs
    np.testing.assert_array_equal(homes[0].dense(size), homes[1].dense(size))
    assert len(np.unique(homes[0].tiles)) == trained.records["y"]["chosen"]["tiles"]


@settings(max_examples=60, deadline=None)
@given(dense=LAYERS, target=st.sampled_from(["tiny", "gc200,tiles=64", "gc200,tiles=187"]))
def test_joint_compute_is_what_runs(dense: Dense, target: str) -> None:
    """The slowest tile's cycles of every pass, to the cycle."""
    trained = Trained(target, dense, joint=True)
    done = dict.fromkeys(RESULTS, 0)
    for step in walk(trained.program.main):
        if isinstance(step, Execute) and "weights" in step.compute_set.families[0].fields:
            cycles = np.zeros(trained.program.target.tiles, np.int64)
            for family in step.compute_set.families:
                each = family.codelet.cycles(
                    trained.program.target, family.windows(), dense.itemsize
                )
                np.add.at(cycles, family.tile.dense().ravel(), each)
            done[step.compute_set.name] += int(cycles.max())
    planned = {name: trained.records[name]["chosen"]["costs"]["compute"] for name in RESULTS}
    assert planned == done


CASES = {
    "halves": Dense(16, 100, 90, 2),
    "floats": Dense(4, 64, 64, 4),
    "one row": Dense(1, 64, 48, 2),
}


@pytest.mark.parametrize("name", CASES)
def test_strict_is_fast(name: str) -> None:
    """With tiles that share nothing but what the exchange moves."""
    dense = CASES[name]
    trained = Trained("tiny", dense)
    assert trained.passes.chosen is not None
    given_arrays = operands(dense, 3)
    for emulator in (Emulator, StrictEmulator):
        hold(dense, emulator(trained.program).run(given_arrays), given_arrays)


def test_one_row_is_a_product_of_two_vectors() -> None:
    """Where no sum is needed, no vertex that adds makes the weights' gradient."""
    dense = Dense(1, 16, 16, 4)
    trained = Trained("gc200,tiles=64", dense, joint=True)
    methods = [trained.records[name]["chosen"]["method"] for name in RESULTS]
    assert methods == ["HMAC", "HMAC", "OUTER_PRODUCT"]
    given_arrays = operands(dense, 5)
    hold(dense, Emulator(trained.program).run(given_arrays), given_arrays)


def test_plan_of_the_ipu_model() -> None:
    """Graphcore's IPU model ran this layer jointly.

    Its fullest tile is too small for results of the matrix unit, so the vertices were those that
    multiply and add, and the outer product.
    """
    chosen = choose_passes(parse_target("gc2"), Dense(1, 1000, 1000, 4)).chosen
    assert chosen is not None
    methods = [plan.problem.method.name for plan in chosen.plans]
    assert methods == ["HMAC", "HMAC", "OUTER_PRODUCT"]


def test_joint_wins_where_weights_outweigh_activations() -> None:
    trained = Trained("gc200,tiles=64", Dense(4, 200, 200, 2))
    record = trained.records["y"]["passes"]
    assert record["joint"]
    assert record["joint cycles"] < record["separate cycles"]
    assert trained.received() == 0


def test_separate_plans_win_where_activations_do() -> None:
    """A large batch: cutting it costs less than adding up a partial sum of every output."""
    trained = Trained("gc200,tiles=64", Dense(256, 64, 64, 2))
    record = trained.records["y"]["passes"]
    assert not record["joint"]
    assert record["separate cycles"] < record["joint cycles"]
    assert trained.received() > 0
    given_arrays = operands(Dense(256, 64, 64, 2), 1)
    hold(Dense(256, 64, 64, 2), Emulator(trained.program).run(given_arrays), given_arrays)


def test_memory_offered_decides() -> None:
    """A joint plan that needs more than is offered is none."""
    target, dense = parse_target("tiny"), Dense(4, 256, 256, 4)
    ample = choose_passes(target, dense)
    assert ample.chosen is not None
    least = max(plan.temp_bytes for plan in ample.chosen.plans)
    scarce = choose_passes(target, dense, (least - 1) / target.tile_memory_bytes)
    for joint in (scarce.joint, choose_passes(target, dense, 1e-6).joint):
        assert joint is None or max(plan.temp_bytes for plan in joint.plans) < least
    assert choose_passes(target, dense, 1e-6).chosen is None


def test_nothing_is_planned_for_nothing() -> None:
    """An empty batch: no results forward, zeros for the weights."""
    dense = Dense(0, 5, 3, 4)
    trained = Trained("tiny", dense)
    assert trained.layer.passes is None
    given_arrays = operands(dense, 0)
    hold(dense, Emulator(trained.program).run(given_arrays), given_arrays)


def test_one_decision_for_all_passes() -> None:
    """Memory is that of the layer that is lowered when the passes are planned."""
    ctx = Context(Builder(parse_target("tiny")), Graph("test", [], [], {}, {}, [], 22))
    ctx.builder.layer = "fc"
    layer = DenseLayer(ctx, 4, 64, 64, 4)
    assert layer.passes is not None
    assert layer.passes == choose_passes(ctx.target, Dense(4, 64, 64, 4))
    ctx.choices = Choices(rules=(("fc", 1e-6),))
    tight = DenseLayer(ctx, 4, 64, 64, 4)
    assert tight.passes is not None
    assert tight.passes.chosen is None
