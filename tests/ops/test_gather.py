"""Gather, with indices known to the compiler or only to the run, against onnx.reference."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from harness import check_node, compiled, one_node
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ipuc.emulator.run import run
from ipuc.emulator.strict import StrictEmulator
from ipuc.errors import ValueRangeError
from ipuc.ops.gather import MAX_PROGRESSIONS
from ipuc.planner.views import progressions

EXACT: dict[str, Any] = {"rtol": 0.0, "atol": 0.0}
SEED = np.random.default_rng(0)


@st.composite
def lookups(draw: st.DrawFn) -> tuple[NDArray[Any], NDArray[Any], int]:
    """A table, indices of any shape, and the axis."""
    shape = draw(st.lists(st.integers(1, 5), min_size=1, max_size=3))
    dtype = draw(st.sampled_from(["float32", "float16", "bool", "int8", "int32", "int64"]))
    table = SEED.integers(-9, 9, shape).astype(dtype)
    axis = draw(st.integers(-len(shape), len(shape) - 1))
    extent = shape[axis]
    where = tuple(draw(st.lists(st.integers(0, 6), max_size=2)))
    values = st.integers(-extent, extent - 1)
    count = int(np.prod(where))
    flat = draw(st.lists(values, min_size=count, max_size=count))
    kind = draw(st.sampled_from(["int32", "int64"]))
    return table, np.array(flat, kind).reshape(where), axis


@given(lookups(), st.sampled_from(["tile", "worker", "fine"]))
@settings(max_examples=60, deadline=None)
def test_gather(lookup: tuple[NDArray[Any], NDArray[Any], int], granularity: str) -> None:
    table, indices, axis = lookup
    options: dict[str, Any] = {"granularity": granularity, "opset": 13, **EXACT}
    check_node("Gather", [table, indices], {"axis": axis}, constants=[1], **options)
    (program, _) = check_node("Gather", [table, indices], {"axis": axis}, **options)
    names = {family.codelet.name for family in program.families()}
    assert names == ({"MultiSlice"} if table.size and indices.size else set())
    feed = {"x0": table, "x1": indices}
    strict = StrictEmulator(program).run(feed)["y0"]
    np.testing.assert_array_equal(strict, run(program, feed)["y0"])


@pytest.mark.parametrize("granularity", ["tile", "worker", "fine"])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_many_scattered_constant_indices_get_a_vertex_each(granularity: Any, axis: int) -> None:
    table = SEED.standard_normal((7, 9, 8)).astype(np.float32)
    indices = SEED.integers(-7, 7, 70)
    assert len(progressions(indices)) > MAX_PROGRESSIONS
    for program in check_node(
        "Gather", [table, indices], {"axis": axis}, constants=[1], granularity=granularity, **EXACT
    ):
        assert {family.codelet.name for family in program.families()} == {"Gather"}
        assert sum(family.count for family in program.families()) >= len(indices)
        assert not program.copies()


@pytest.mark.parametrize("indices", [[3, 2, 1, 0], [0, 2, 4], [1, 1, 1], [5, 0, 1, 2], 4])
def test_progressions_of_constant_indices_are_views(indices: Any) -> None:
    table = SEED.standard_normal((6, 2)).astype(np.float32)
    for program in check_node("Gather", [table, np.array(indices)], constants=[1], **EXACT):
        assert not list(program.families())
        assert not program.copies()


@given(st.lists(st.integers(0, 20), max_size=30))
def test_progressions_spell_the_indices(indices: list[int]) -> None:
    runs = progressions(indices)
    spelt = [first + step * i for first, step, count in runs for i in range(count)]
    assert spelt == indices


def test_indices_outside_the_table_are_refused() -> None:
    table = np.zeros((4, 2), np.float32)
    late = np.array([0, 4])
    with pytest.raises(ValueRangeError, match="index 4 is outside an axis of extent 4"):
        compiled(one_node("Gather", [table, late], {}, 13, constants=[1]))
    program = compiled(one_node("Gather", [table, late], {}, 13))
    with pytest.raises(ValueRangeError, match="index -5 is outside a table of 4 rows"):
        run(program, {"x0": table, "x1": np.array([0, -5])})


@pytest.mark.parametrize("dtype", ["float32", "float16", "bool", "int32"])
def test_a_table_too_long_for_a_tile_is_split_by_rows(dtype: str) -> None:
    """A small memory stands for a large table: rows of 8 bytes, 64 rows, 200 bytes a tile."""
    table = SEED.integers(-9, 9, (64, 3)).astype(dtype)
    indices = SEED.integers(-64, 64, 11)
    programs = check_node(
        "Gather",
        [table, indices],
        opset=13,
        targets=["gc200,tiles=16,tile_memory_bytes=200"],
        **EXACT,
    )
    codelets = {
        (f.codelet.name, f.codelet.parameters().get("first")) for f in programs[0].families()
    }
    parts = {first for name, first in codelets if name == "MultiSlice"}
    assert len(parts) > 1
    assert any(name.startswith("Reduce") for name, _ in codelets)
