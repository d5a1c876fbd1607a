"""Tile mappings: every element once, and by use where nobody says otherwise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipuc.codelets.binary import BinaryOp
from ipuc.codelets.reduce import Reduce
from ipuc.codelets.unary import UnaryOp
from ipuc.errors import ProgramError
from ipuc.program.builder import Builder
from ipuc.program.family import Access, VertexFamily, separable
from ipuc.program.mapping import map_by_use
from ipuc.program.variables import TileMapping, Variable, linear_mapping
from ipuc.target import parse_target

TINY = parse_target("tiny")


@given(st.lists(st.tuples(st.integers(1, 5), st.integers(0, 3)), min_size=1, max_size=8), st.data())
def test_a_mapping_gives_each_element_one_tile(
    pieces: list[tuple[int, int]], data: st.DataObject
) -> None:
    lengths, tiles = np.array(pieces).T
    begins = np.cumsum(lengths) - lengths
    order = data.draw(st.permutations(range(len(pieces))))
    made = TileMapping.of_intervals(begins[order], tiles[order])
    want = np.concatenate([np.full(n, tile) for n, tile in pieces])
    size = len(want)
    np.testing.assert_array_equal(made.dense(size), want)
    np.testing.assert_array_equal(made.tile_of(np.arange(size)), want)
    np.testing.assert_array_equal(made.tile_of(np.arange(size).reshape(1, -1)), want[None])
    assert made.lengths(size).sum() == size
    # neighbours on one tile are one interval
    assert (made.tiles[1:] != made.tiles[:-1]).all()


@given(
    st.integers(0, 400),
    st.integers(1, 40),
    st.integers(1, 8),
    st.sampled_from([1, 2, 4]),
    st.integers(0, 5),
)
def test_a_linear_mapping_is_in_order_and_even(
    size: int, tiles: int, grain: int, itemsize: int, first: int
) -> None:
    made = linear_mapping(size, tiles, grain, itemsize, first)
    dense = made.dense(size)
    assert dense.shape == (size,)
    assert (made.starts % grain == 0).all()
    assert (np.diff(made.tiles) == 1).all()
    assert made.tiles[0] == first
    assert made.tiles[-1] < first + tiles
    lengths = -(-made.lengths(size) // grain)
    assert lengths.max() - lengths.min() <= 1
    if len(made.tiles) > 1:
        # a tile holds 128 bytes at least, but for the short last grain
        assert (made.lengths(size)[:-1] * itemsize >= 128).all()


def test_an_unmapped_variable_says_so() -> None:
    with pytest.raises(ProgramError, match='"w" is not mapped') as caught:
        Variable(0, "w", "float32", (3,), origin="conv1").mapped()
    assert caught.value.where == "conv1"


@st.composite
def _blocks(draw: st.DrawFn, size: int, count: int, block: int) -> list[int]:
    """Begins of blocks that do not overlap."""
    slots = draw(st.permutations(range(size // block)))[:count]
    return [block * slot for slot in slots]


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_mapping_by_use(data: st.DataObject) -> None:
    draw = data.draw
    variables = [Variable(i, f"v{i}", "float32", (24,)) for i in range(3)]
    families: list[VertexFamily] = []
    for _ in range(draw(st.integers(0, 3))):
        count, block = draw(st.integers(1, 3)), draw(st.integers(1, 4))
        starts = [
            draw(_blocks(24, count, block)),
            draw(st.lists(st.integers(0, 20), min_size=count, max_size=count)),
            [draw(st.integers(0, 20))] * count,
        ]
        ids = draw(st.permutations(range(3)))
        fields = {
            name: Access(ids[i], separable(0, starts[i]), (block,), (1,))
            for i, name in enumerate(("out", "a", "b"))
        }
        tiles = draw(st.lists(st.integers(0, 3), min_size=count, max_size=count))
        families.append(VertexFamily(BinaryOp("add"), (count,), separable(0, tiles), fields))
    map_by_use(variables, [[family] for family in families], 4)
    for variable in variables:
        mapping = variable.mapped()
        assert mapping.starts[0] == 0
        tile = mapping.dense(24)
        assert ((tile >= 0) & (tile < 4)).all()
        for element in range(24):
            allowed = _homes(families, variable.id, element)
            assert not allowed or int(tile[element]) in allowed


def _homes(families: list[VertexFamily], variable: int, element: int) -> set[int]:
    """Tiles an element may live on: its first writer's, or those of its first family of readers."""
    for fields in (("out",), ("a", "b")):
        for family in families:
            found = set()
            for name in fields:
                access = family.fields[name]
                offsets = access.offset.dense()
                for vertex in range(family.count):
                    inside = offsets[vertex] <= element < offsets[vertex] + access.shape[0]
                    if access.variable == variable and inside:
                        found.add(int(family.tile.dense()[vertex]))
            if found:
                return found
    return set()


@pytest.mark.parametrize("readers", [1, 4])
def test_what_is_made_in_short_runs_and_read_often_goes_home_in_order(readers: int) -> None:
    """Each of four tiles makes every fourth float of 1024; then so many tiles read them all."""
    graph = Builder(TINY)
    x, made = (graph.variable(name, "float32", (256, 4)) for name in "xm")
    with graph.compute_set("make") as work:
        blocks = {"x": graph.blocks(x, [1, 4]), "out": graph.blocks(made, [1, 4])}
        work.add(UnaryOp("neg"), separable(0, [0], range(4)), **blocks)
    sums = graph.variable("sums", "float32", (readers,))
    with graph.compute_set("sum") as work:
        out = graph.field(sums, [range(readers)], ())
        whole = graph.field(made, [[0] * readers], (1024,), (1,))
        work.add(Reduce("sum"), range(readers), x=whole, out=out)
    graph.map_rest()
    home = graph.build().variables[1].mapped()
    wanted = np.arange(1024) % 4 if readers == 1 else np.arange(1024) // 256
    assert home.dense(1024).tolist() == wanted.tolist()


def test_a_shared_operand_is_spread_over_those_that_read_it() -> None:
    graph = Builder(TINY)
    x = graph.constant("x", np.zeros(10, np.float32))
    out = graph.variable("out", "float32", (4,))
    with graph.compute_set("sum") as work:
        work.add(Reduce("sum"), [3, 1, 0, 2], x=x, out=graph.field(out, [range(4)], ()))
    graph.map_rest()
    made = graph.build().variables
    assert made[0].mapped().dense(10).tolist() == [3, 3, 3, 1, 1, 0, 0, 0, 2, 2]
    assert made[1].mapped().dense(4).tolist() == [3, 1, 0, 2]


def test_what_nobody_touches_is_spread_in_order_and_holes_join_a_neighbour() -> None:
    graph = Builder(TINY)
    graph.constant("idle", np.zeros(256, np.float32))
    x = graph.variable("x", "float32", (8,))
    y = graph.variable("y", "float32", (8,))
    with graph.compute_set("some") as work:
        part = {"a": x.slice(0, 2, 4), "b": x.slice(0, 2, 4), "out": y.slice(0, 5, 7)}
        work.add(BinaryOp("add"), 2, **part)
        part = {"a": x.slice(0, 6, 7), "b": x.slice(0, 6, 7), "out": y.slice(0, 2, 3)}
        work.add(BinaryOp("add"), 1, **part)
    graph.map_rest()
    idle, x_made, y_made = graph.build().variables
    assert idle.mapped().dense(256).tolist() == np.repeat(range(4), 64).tolist()
    assert x_made.mapped().dense(8).tolist() == [2, 2, 2, 2, 2, 2, 1, 1]
    assert y_made.mapped().dense(8).tolist() == [1, 1, 1, 1, 1, 2, 2, 2]


def test_a_mapping_by_hand_is_kept() -> None:
    graph = Builder(TINY)
    x = graph.variable("x", "float32", (4,))
    graph.map(x, [0, 1], [3, 0])
    with graph.compute_set("double") as work:
        work.add(BinaryOp("add"), 1, a=x, b=x, out=x)
    graph.map_rest()
    assert graph.build().variables[0].mapped().dense(4).tolist() == [3, 0, 0, 0]


def test_families_that_read_the_same_block_share_it() -> None:
    """Parts of two sizes make two families; every vertex of both holds its share."""
    graph = Builder(TINY)
    x = graph.constant("x", np.zeros(12, np.float32))
    outs = [graph.variable(f"out{i}", "float32", (n,)) for i, n in enumerate((3, 1))]
    with graph.compute_set("sum") as work:
        for out, tiles in zip(outs, ([0, 1, 2], [3]), strict=True):
            made = graph.field(out, [range(len(tiles))], ())
            work.add(Reduce("sum"), tiles, x=x, out=made)
    graph.map_rest()
    dense = graph.variables[graph.one_view(x).variable].mapped().dense(12)
    assert dense.tolist() == [0] * 3 + [1] * 3 + [2] * 3 + [3] * 3
