"""Bytes exchanged: what private tile memories really move, and laws that any program keeps."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipuc import zoo
from ipuc.codelets.unary import UnaryOp
from ipuc.emulator.strict import Exchange, StrictEmulator, home_tiles
from ipuc.pipeline import compile_model, random_inputs
from ipuc.planner.context import Granularity
from ipuc.profile.cycles import Superstep, exchange_cycles, supersteps
from ipuc.profile.exchange import Traffic, of_variable
from ipuc.program.builder import Builder
from ipuc.program.program import Program
from ipuc.program.tensor import concat
from ipuc.program.variables import TileMapping, Variable
from ipuc.target import CATALOGUE, parse_target
from ipuc.types import Ints

TINY = CATALOGUE["tiny"]


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return zoo.write("digits", tmp_path_factory.mktemp("models") / "digits.onnx")


def moved(program: Program) -> list[Exchange]:
    """What a run on private tile memories moved, host transfers aside."""
    emulator = StrictEmulator(program)
    emulator.run(random_inputs(program, 0))
    return [exchange for exchange in emulator.exchanges if exchange.phase != "host"]


def charged(steps: list[Superstep]) -> list[tuple[str, str, Traffic]]:
    """The same list from the profile."""
    found: list[tuple[str, str, Traffic]] = []
    for step in steps:
        if step.kind == "copy":
            found.append((step.name, "copy", step.before))
        else:
            found += [(step.name, "read", step.before), (step.name, "write", step.after)]
    return found


def check(program: Program) -> list[Superstep]:
    steps = supersteps(program)
    real, claimed = moved(program), charged(steps)
    assert [(e.step, e.phase) for e in real] == [(name, phase) for name, phase, _ in claimed]
    for exchange, (_, _, traffic) in zip(real, claimed, strict=True):
        np.testing.assert_array_equal(traffic.received, exchange.received, exchange.step)
        np.testing.assert_array_equal(traffic.sent, exchange.sent, exchange.step)
    return steps


@pytest.mark.parametrize("granularity", ["tile", "worker"])
@pytest.mark.parametrize("target", ["tiny", "tiny,tiles=64"])
def test_a_network_moves_what_is_charged(
    digits: Path, target: str, granularity: Granularity
) -> None:
    steps = check(compile_model(digits, target=parse_target(target), granularity=granularity))
    assert sum(int(step.before.received.sum()) for step in steps) > 0


def copies() -> Program:
    """A transpose, a broadcast that repeats elements, a join of two sources, and a fill."""
    build = Builder(TINY)
    x = build.input("x", "float32", (6, 5))
    build.map_linear(x)
    y = build.constant("y", np.arange(5, dtype=np.float16))
    build.map(y, [0, 2], [3, 0])
    turned = build.copy(x.transpose([1, 0]), "turn")
    wide = build.copy(y.expand((4, 5)), "repeat")
    joined = build.copy(concat([x, x.slice(0, 0, 2)], 0), "join")
    for tensor in (turned, wide, joined):
        build.map_linear(tensor, first_tile=1)
        build.output(f"o{tensor.shape}", tensor)
    return build.build()


def far_results() -> Program:
    """Results that live on other tiles than the vertices that make them."""
    build = Builder(TINY)
    x = build.input("x", "float32", (8,))
    build.map(x, [0, 3, 5], [0, 1, 3])
    out = build.variable("out", "float32", (8,))
    build.map(out, [0, 1, 6], [2, 0, 1])
    with build.compute_set("shift") as shift:
        fields = {"x": build.blocks(x, [4]), "out": build.blocks(out, [4])}
        shift.add(UnaryOp("neg"), [1, 2, 1, 0], **fields)
    build.output("y", out)
    return build.build()


@pytest.mark.parametrize("make", [copies, far_results])
def test_private_memories_move_what_is_charged(make: Callable[[], Program]) -> None:
    steps = check(make())
    assert all(step.before.received.sum() > 0 for step in steps)


@st.composite
def wishes(draw: st.DrawFn) -> tuple[Variable, list[tuple[int, int, int]]]:
    """A mapped variable, and disjoint intervals (tile, begin, end) that tiles read of it."""
    size = draw(st.integers(1, 40))
    cuts = sorted(draw(st.sets(st.integers(1, max(1, size - 1)), max_size=6)))
    starts = [0, *(c for c in cuts if c < size)]
    tiles = draw(st.lists(st.integers(0, 3), min_size=len(starts), max_size=len(starts)))
    variable = Variable(0, "v", draw(st.sampled_from(["float32", "float16"])), (size,))
    variable.mapping = TileMapping(np.array(starts, np.int64), np.array(tiles, np.int64))
    found = []
    for tile in range(4):
        ends = sorted(draw(st.sets(st.integers(0, size), max_size=6)))
        found += [(tile, b, e) for b, e in zip(ends[::2], ends[1::2], strict=False)]
    return variable, found


def traffic_of(variable: Variable, found: list[tuple[int, int, int]]) -> Traffic:
    columns: Ints = np.array(found, np.int64).reshape(-1, 3)
    return of_variable(variable, columns[:, 0], columns[:, 1], columns[:, 2], 4)


@settings(deadline=None)
@given(wishes())
def test_traffic_against_sets(case: tuple[Variable, list[tuple[int, int, int]]]) -> None:
    variable, found = case
    home = home_tiles(variable, 4)
    needs: list[set[int]] = [set(), set(), set(), set()]
    for tile, begin, end in found:
        needs[tile] |= {e for e in range(begin, end) if home[e] != tile}
    traffic = traffic_of(variable, found)
    size = variable.itemsize
    away = set.union(*needs)
    assert traffic.received.tolist() == [len(n) * size for n in needs]
    assert traffic.sent.tolist() == [sum(home[e] == t for e in away) * size for t in range(4)]
    both = [len(needs[t] & needs[t + 1]) * size for t in (0, 2)]
    assert traffic.paired.tolist() == [both[0], both[0], both[1], both[1]]


@settings(deadline=None)
@given(wishes())
def test_bytes_sent_are_bytes_received(case: tuple[Variable, list[tuple[int, int, int]]]) -> None:
    variable, found = case
    home = home_tiles(variable, 4)
    traffic = traffic_of(variable, found)
    receivers = np.zeros(variable.size, np.int64)
    for tile, begin, end in found:
        receivers[begin:end] += home[begin:end] != tile
    # each element leaves once and arrives at every member of its multicast set
    assert traffic.received.sum() == receivers.sum() * variable.itemsize
    assert traffic.sent.sum() == np.count_nonzero(receivers) * variable.itemsize
    assert traffic.fragments.sum() >= traffic.sends.sum() >= np.count_nonzero(traffic.sent)


def test_a_pair_that_receives_alike_takes_half_the_time() -> None:
    alike = Traffic.none(4)
    alike.received[:] = [80, 80, 40, 0]
    alike.paired[:2] = 80
    assert exchange_cycles(TINY, alike) == 10
    assert exchange_cycles(dataclasses.replace(TINY, tiles_per_exchange_bus=1), alike) == 20
    alike.sent[3] = 200
    assert exchange_cycles(TINY, alike) == 50
