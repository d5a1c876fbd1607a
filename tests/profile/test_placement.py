"""Addresses: laws that any placement keeps, peaks counted by running, and gaps of real programs."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ipuc import zoo
from ipuc.codelets.unary import UnaryOp
from ipuc.pipeline import compile_model
from ipuc.profile.memory import GAPS, Memory, memory
from ipuc.profile.placement import Buffer, fields_apart, fields_interleaved, place
from ipuc.profile.record import profile
from ipuc.program.builder import Builder
from ipuc.program.program import Program
from ipuc.program.steps import Execute, Sweep
from ipuc.target import CATALOGUE, Target, parse_target

TINY = CATALOGUE["tiny"]
#: Memory elements of 64 bytes, interleaved from 256 on.
SMALL = dataclasses.replace(TINY, memory_element_bytes=64, interleaved_start_bytes=256)

Flags = NDArray[np.bool_]


def element(target: Target, address: int) -> tuple[str, int]:
    """The memory element of a byte: interleaved ones come in pairs."""
    start, size = target.interleaved_start_bytes, target.memory_element_bytes
    if address < start:
        return "ordinary", address // size
    return "interleaved", (address - start) // (2 * size)


@st.composite
def buffers(draw: st.DrawFn) -> list[Buffer]:
    steps, tiles = draw(st.integers(1, 6)), draw(st.integers(1, 3))
    made: list[Buffer] = []
    for number in range(draw(st.integers(1, 9))):
        always = draw(st.booleans()) and draw(st.booleans())
        first, last = sorted(draw(st.tuples(*[st.integers(0, steps - 1)] * 2)))
        alive = (np.arange(steps) >= first) & (np.arange(steps) <= last)
        size = np.array(draw(st.lists(st.integers(0, 150), min_size=tiles, max_size=tiles)))
        matrix = not always and draw(st.integers(0, 3)) == 0
        made.append(Buffer(size, alive | always, always=always, interleaved=matrix))
        for other in draw(st.sets(st.integers(0, number), max_size=2)) - {number}:
            made[number].apart.add(other)
            made[other].apart.add(number)
    return made


@settings(max_examples=150, deadline=None)
@given(given_buffers=buffers(), floor=st.integers(0, 300))
def test_laws_of_any_placement(given_buffers: list[Buffer], floor: int) -> None:
    tiles = len(given_buffers[0].size)
    found = place(SMALL, np.full(tiles, floor), given_buffers)
    for tile in range(tiles):
        where = [
            (int(found.begins[n, tile]), int(found.begins[n, tile] + b.size[tile]))
            for n, b in enumerate(given_buffers)
        ]
        used = [n for n, b in enumerate(given_buffers) if b.size[tile]]
        assert found.end[tile] == max([floor, *(where[n][1] for n in used)])
        for n in used:
            buffer, (begin, end) = given_buffers[n], where[n]
            assert begin >= floor
            assert begin % (16 if buffer.interleaved else 8) == 0
            assert not buffer.interleaved or begin >= SMALL.interleaved_start_bytes
            for m in used:
                other = given_buffers[m]
                if m == n or not (buffer.alive & other.alive).any():
                    continue
                assert end <= where[m][0] or where[m][1] <= begin
                if m in buffer.apart:
                    mine = {element(SMALL, at) for at in range(begin, end)}
                    assert not mine & {element(SMALL, at) for at in range(*where[m])}


def test_lives_that_do_not_meet_share_memory() -> None:
    steps = np.arange(6)
    chain = [
        Buffer(np.array([64, 0]), (steps == n) | (steps == n + 1)) for n in range(len(steps) - 1)
    ]
    found = place(SMALL, np.array([0, 0]), chain)
    assert found.end.tolist() == [128, 0]
    assert len(set(found.begins[:, 0].tolist())) == 2


def test_what_is_always_live_fills_the_gap_below_interleaved_memory() -> None:
    alive = np.array([True])
    matrix = Buffer(np.array([32]), alive, interleaved=True)
    constants = [Buffer(np.array([48]), alive, always=True) for _ in range(5)]
    found = place(SMALL, np.array([8]), [matrix, *constants])
    assert found.begins[0, 0] == 256
    assert found.end[0] == 256 + 32
    assert sorted(found.begins[1:, 0].tolist()) == [8, 56, 104, 152, 200]


def copies(build: Builder, steps: list[tuple[int, int, bool]], tensors: list[Any]) -> None:
    for number, (source, into, whole) in enumerate(steps):
        end = 24 if whole else 9
        build.copy_into(
            tensors[into].slice(0, 0, end), tensors[source].slice(0, 0, end), f"copy {number}"
        )


moves = st.lists(
    st.tuples(st.integers(0, 4), st.integers(0, 4), st.booleans()).filter(lambda s: s[0] != s[1]),
    max_size=4,
)
homes = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=5, max_size=5)


def alive_by_running(trace: list[tuple[int, int, int, bool]], steps: int) -> Flags:
    """Follow a run step by step: bool[steps, variables].

    A variable is alive in a step if the step touches it, or if it was written before, and a later
    step reads it before one writes all of it.
    """
    found = np.zeros((steps, 5), bool)
    for now, (step, source, into, whole) in enumerate(trace):
        for variable in range(5):
            known = any(variable == event[2] for event in trace[:now])
            wanted = False
            for _, later_source, later_into, later_whole in trace[now + 1 :]:
                if later_source == variable:
                    wanted = True
                    break
                if later_into == variable and later_whole:
                    break
            kept = known and wanted and not (into == variable and whole)
            found[step, variable] |= variable in (source, into) or kept
    return found


@settings(max_examples=80, deadline=None)
@given(before=moves, body=moves, after=moves, where=homes)
def test_the_peak_is_that_of_a_run(
    before: list[tuple[int, int, bool]],
    body: list[tuple[int, int, bool]],
    after: list[tuple[int, int, bool]],
    where: list[tuple[int, int]],
) -> None:
    """Variables of 24 bytes, the first 16 on one tile and 8 on another; a loop of three rounds."""
    build = Builder(TINY)
    tensors = [build.variable(f"v{n}", "uint8", (24,)) for n in range(5)]
    for tensor, (one, two) in zip(tensors, where, strict=True):
        build.map(tensor, [0, 16], [one, two])
    copies(build, before, tensors)
    with build.repeat(3):
        copies(build, body, tensors)
    copies(build, after, tensors)
    found = memory(build.build())
    first, last = len(before), len(before) + len(body)
    order = [*range(first), *list(range(first, last)) * 3, *range(last, last + len(after))]
    every = [*before, *body, *after]
    alive = alive_by_running([(n, *every[n]) for n in order], len(every))
    size = np.zeros((5, 4), np.int64)
    for variable, (one, two) in enumerate(where):
        size[variable, one] += 16
        size[variable, two] += 8
    always = found.lives.always
    np.testing.assert_array_equal(found.lives.live[:, ~always], alive[:, ~always])
    assert alive[:, always].all()
    peak = (alive @ size + found.messages).max(axis=0, initial=0)
    variables = found.always["Variables"]
    np.testing.assert_array_equal(
        found.live_bytes, found.always_bytes - variables + np.maximum(peak, variables)
    )
    check_addresses(found)


def check_addresses(found: Memory) -> None:
    """No two variables that are alive together overlap, and sums agree."""
    for row in range(len(found.lives.steps)):
        for tile in range(found.target.all_tiles):
            here = np.flatnonzero(found.lives.live[row] & (found.held[:, tile] > 0))
            begins = found.addresses[here, tile]
            assert (begins >= 0).all()
            ends = begins + found.held[here, tile]
            order = np.argsort(begins)
            assert (begins[order][1:] >= ends[order][:-1]).all()
            assert ends.max(initial=0) <= found.tile_bytes[tile]
    assert (found.tile_bytes >= found.live_bytes).all()
    parts = found.categories()
    assert all((column >= 0).all() for column in parts.values())
    np.testing.assert_array_equal(np.sum(list(parts.values()), axis=0), found.tile_bytes)
    np.testing.assert_array_equal(found.tile_bytes - parts[GAPS], found.live_bytes)


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Program:
    path = zoo.write("digits", tmp_path_factory.mktemp("models") / "digits.onnx")
    return compile_model(path, target=parse_target("gc2,tiles=8"))


def test_a_network_keeps_the_rules(digits: Program) -> None:
    found = memory(digits)
    check_addresses(found)
    start, size = 131_072, 16_384
    matrix = 0
    for step in found.lives.steps:
        if not isinstance(step.step, Execute | Sweep):
            continue
        for family in step.step.compute_set.families:
            for name in fields_interleaved(family.codelet):
                addresses = found.addresses[family.fields[name].variable]
                matrix += int((addresses >= 0).sum())
                assert (addresses[addresses >= 0] >= start).all()
                assert (addresses[addresses >= 0] % 16 == 0).all()
            for one, other in fields_apart(family.codelet):
                ids = family.fields[one].variable, family.fields[other].variable
                for tile in np.flatnonzero((found.addresses[list(ids)] >= 0).all(axis=0)):
                    begins = found.addresses[list(ids), tile]
                    ends = begins + found.held[list(ids), tile]
                    sets = [
                        {element(digits.target, at) for at in range(int(b), int(e), 8)}
                        for b, e in zip(begins, ends, strict=True)
                    ]
                    assert not sets[0] & sets[1]
    assert matrix
    # Source: tests of PopLibs on the matrix unit need a little more than 128 KiB of a Mk1 tile.
    assert start < found.max_tile_bytes < start + 2 * size
    assert found.max_live_bytes < start
    assert found.fits


def test_fits_counts_gaps(digits: Program) -> None:
    most = memory(digits).max_tile_bytes
    for limit, fits in ((most, True), (most - 1, False)):
        target = dataclasses.replace(digits.target, tile_memory_bytes=limit)
        assert memory(dataclasses.replace(digits, target=target)).fits is fits


def test_in_place_needs_one_buffer() -> None:
    """A chain of vertices in place holds one variable; one that is not holds two at a time."""
    build = Builder(TINY)
    x = build.input("x", "float32", (64,))
    at = x
    for number in range(4):
        into = build.variable(f"v{number}", "float32", (64,))
        with build.compute_set(f"step {number}") as step:
            step.add(UnaryOp("neg"), 0, x=at, out=into)
        at = into
    build.output("y", at)
    build.map_rest()
    found = memory(build.build())
    assert found.not_always[:, 0].max() == 512
    assert len(set(found.addresses[:, 0].tolist())) == 2


def test_the_summary_names_both_figures(tmp_path: Path) -> None:
    found = profile(compile_model(zoo.write("digits", tmp_path / "d.onnx"), target=TINY))
    made = found.memory_summary()
    parts = made["categories"]
    assert made["max_tile_bytes"] == found.memory.max_tile_bytes
    assert made["max_tile_bytes_excluding_gaps"] == found.memory.max_live_bytes
    assert made["total_bytes"] == made["always_live_bytes"] + made["not_always_live_bytes"]
    assert made["total_bytes_including_gaps"] == sum(p["total_bytes"] for p in parts.values())
    assert made["total_bytes"] == made["total_bytes_including_gaps"] - parts[GAPS]["total_bytes"]
    worst = made["worst_tile_bytes"]
    assert worst["including_gaps"] == sum(p["worst_tile_bytes"] for p in parts.values())
    assert worst["excluding_gaps"] == worst["always_live"] + worst["not_always_live"]
