"""A multiple of a tensor added to a variable where that lies, against NumPy in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipuc.codelets.scaled_add import ScaledAdd
from ipuc.codelets.unary import UnaryOp
from ipuc.emulator.run import Emulator
from ipuc.emulator.strict import StrictEmulator
from ipuc.errors import ProgramError, ShapeError
from ipuc.graph.ir import Graph
from ipuc.planner.context import Context
from ipuc.planner.elementwise import elementwise
from ipuc.planner.in_their_place import is_whole, local_vertices
from ipuc.planner.scaled_add import scaled_add
from ipuc.program.builder import Builder
from ipuc.program.variables import TileMapping
from ipuc.target.catalogue import parse_target

#: One product and one sum in float32, rounded to the target's type: two units in the last place.
UNITS = {"float32": 2.0**-22, "float16": 2.0**-10}


def context(target: str = "tiny", granularity: Any = "tile") -> Context:
    graph = Graph("test", [], [], {}, {}, [], 22)
    return Context(Builder(parse_target(target)), graph, granularity)


@settings(max_examples=80, deadline=None)
@given(
    shape=st.lists(st.integers(1, 9), min_size=1, max_size=4),
    order=st.randoms(use_true_random=False),
    dtypes=st.tuples(*[st.sampled_from(["float16", "float32"])] * 2),
    granularity=st.sampled_from(["tile", "worker", "fine"]),
    constant=st.booleans(),
    subtract=st.booleans(),
    mapped=st.integers(0, 40),
)
def test_scaled_add(
    shape: list[int],
    order: Any,
    dtypes: tuple[str, str],
    granularity: str,
    mapped: int,
    *,
    constant: bool,
    subtract: bool,
) -> None:
    """Any order of axes of either operand, any mapping, either type, a rate known or not."""
    ctx = context("tiny", granularity)
    axes = list(range(len(shape)))
    order.shuffle(axes)
    random = np.random.default_rng(mapped)
    old, other = (random.normal(size=shape).astype(kind) for kind in dtypes)
    lies = ctx.builder.input("w", dtypes[0], tuple(shape[a] for a in axes))
    size = int(np.prod(shape))
    if mapped:
        starts = np.union1d([0], random.integers(0, size, mapped))
        ctx.builder.map(lies, starts.tolist(), random.integers(0, 4, len(starts)).tolist())
    target = lies.transpose([int(a) for a in np.argsort(axes)])
    scale = ctx.builder.input("scale", "float32", (1,))
    given_other = ctx.builder.input("g", dtypes[1], tuple(shape))
    rate: Any = 0.375 if constant else scale
    scaled_add(ctx, target, given_other, rate, "add", subtract=subtract)
    ctx.builder.output("new", target)
    ctx.builder.map_rest()
    program = ctx.builder.build()
    arrays = {"w": old.transpose(axes), "g": other, "scale": np.full(1, 0.375, np.float32)}
    step = 0.375 * other.astype(np.float64)
    exact = old.astype(np.float64) + (-step if subtract else step)
    unit = UNITS[dtypes[0]]
    for emulator in (Emulator(program), StrictEmulator(program)):
        new = emulator.run(arrays)["new"]
        np.testing.assert_allclose(new, exact, rtol=unit, atol=unit)
    tiles = {family.tile.bounds() for family in program.families()}
    assert all(0 <= low <= high < program.target.tiles for low, high in tiles)


def test_vertices_stand_where_the_variable_was_made() -> None:
    """So that nothing but the other operand is exchanged, and that only if it lies elsewhere."""
    ctx = context("gc200,tiles=64", "tile")
    source = ctx.builder.input("x", "float32", (64, 100))
    target = elementwise(ctx, UnaryOp("neg"), {"x": source}, "float32", "target")
    other = elementwise(ctx, UnaryOp("abs"), {"x": source}, "float32", "other")
    scaled_add(ctx, target, other, 0.5, "add")
    ctx.builder.output("out", target)
    ctx.builder.map_rest()
    program = ctx.builder.build()
    (family,) = (f for f in program.families() if isinstance(f.codelet, ScaledAdd))
    for name in ("a", "b"):
        access = family.fields[name]
        home = program.variables[access.variable].mapped().tile_of(access.offset.dense())
        np.testing.assert_array_equal(home, family.tile.dense())
    x = np.random.default_rng(0).normal(size=(64, 100)).astype(np.float32)
    np.testing.assert_allclose(Emulator(program).run({"x": x})["out"], 0.5 * abs(x) - x, rtol=1e-6)


@settings(max_examples=100, deadline=None)
@given(
    size=st.integers(1, 300),
    cuts=st.lists(st.tuples(st.integers(0, 299), st.integers(0, 5)), max_size=30),
    granularity=st.sampled_from(["tile", "worker"]),
    grain=st.integers(1, 4),
)
def test_local_vertices_cover_once_at_home(
    size: int, cuts: list[tuple[int, int]], granularity: str, grain: int
) -> None:
    places = {0: 0, **{start: tile for start, tile in cuts if start < size}}
    starts = np.array(sorted(places), np.int64)
    mapping = TileMapping(starts, np.array([places[s] for s in starts.tolist()], np.int64))
    count = np.zeros(size, int)
    for some in local_vertices(context("tiny", granularity), mapping, size, grain):
        access, tiles = some.access(0), some.tiles().dense()
        window = sum(
            (np.arange(n) * s).reshape([-1 if a == b else 1 for b in range(len(access.shape))])
            for a, (n, s) in enumerate(zip(access.shape, access.strides, strict=True))
        )
        elements = access.offset.dense().reshape(*tiles.shape, 1) + np.ravel(window)
        np.add.at(count, elements, 1)
        homes = np.broadcast_to(tiles[..., None], elements.shape)
        np.testing.assert_array_equal(mapping.tile_of(elements), homes)
    np.testing.assert_array_equal(count, 1)


@pytest.mark.parametrize(("granularity", "wanted"), [("tile", 1), ("worker", 6)])
def test_a_tile_has_a_vertex_or_one_for_each_worker(granularity: str, wanted: int) -> None:
    """Rows at equal distances are one window."""
    mapping = TileMapping(np.arange(0, 240, 20), np.tile(np.array([0, 1]), 6))
    found = list(local_vertices(context("tiny", granularity), mapping, 240))
    assert sum(some.tiles().dense().size for some in found) == 2 * wanted


def test_what_is_no_whole_variable() -> None:
    ctx = context()
    part = ctx.builder.input("w", "float32", (4, 4)).slice(0, 0, 2)
    other = ctx.builder.input("g", "float32", (2, 4))
    assert not is_whole(ctx, part)
    with pytest.raises(ProgramError, match="whole variable"):
        scaled_add(ctx, part, other, 1.0, "add")


def test_shapes_that_differ() -> None:
    ctx = context()
    target = ctx.builder.input("w", "float32", (4, 4))
    other = ctx.builder.input("g", "float32", (4,))
    with pytest.raises(ShapeError, match="cannot be added"):
        scaled_add(ctx, target, other, 1.0, "add")
    with pytest.raises(ShapeError, match="one element"):
        scaled_add(ctx, target, target, other, "add")
