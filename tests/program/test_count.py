"""Oracle: Python sets, element by element (`program_brute.py`); counts are exact, so equality."""

from __future__ import annotations

import functools
import time
import tracemalloc

import numpy as np
import program_brute as brute
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from program_strategies import TINY, programs

from ipuc.codelets.binary import BinaryOp
from ipuc.errors import ProgramError
from ipuc.program import messages, regions
from ipuc.program.builder import Builder
from ipuc.program.count import Counts, GraphCounts, count_graph, count_program
from ipuc.program.enumerate import VertexGraph
from ipuc.program.family import Access, VertexFamily, separable
from ipuc.program.program import Program
from ipuc.program.regions import cut_variable, point_chunks
from ipuc.program.steps import ComputeSet, Execute, Sequence
from ipuc.program.variables import Variable, linear_mapping
from ipuc.target import CATALOGUE
from ipuc.types import Ints


@settings(max_examples=150, deadline=None)
@given(programs(), st.sampled_from([1, 7, 1 << 21]))
def test_graph_equals_brute_force(program: Program, max_edges: int) -> None:
    expected, pairs = brute.graph(program)
    graph = VertexGraph(program)
    found = GraphCounts(graph.nodes, graph.vertices, graph.regions, graph.edges())
    vertices = sum(1 for _ in brute.vertices(program))
    assert found == GraphCounts(vertices + len(expected), vertices, len(expected), len(pairs))
    ends = graph.region_begin + graph.region_elements
    columns = (graph.region_variable, graph.region_begin, ends)
    assert list(zip(*(c.tolist() for c in columns), strict=True)) == expected
    owners = [v.mapped().dense(v.size) for v in program.variables]
    homes = [int(owners[v][b]) for v, b, _ in expected]
    assert graph.region_tile.tolist() == homes
    assert np.array_equal(listed(graph, max_edges), brute.as_array(pairs))


def listed(graph: VertexGraph, max_edges: int) -> Ints:
    """All edges from the blocks, which must follow each other without a gap."""
    expected, rows = 0, []
    for block in graph.blocks(max_edges):
        count = len(block.tile)
        assert block.first_vertex == expected
        assert len(block.regions) <= max_edges or count == 1
        numbers = np.arange(expected, expected + count)
        rows.append(
            np.stack([np.repeat(numbers, np.diff(block.edge_offsets)), block.regions], axis=1)
        )
        expected += count
    assert expected == graph.vertices
    return np.concatenate(rows)


@settings(max_examples=50, deadline=None)
@given(programs())
def test_blocks_carry_the_fields_of_their_vertices(program: Program) -> None:
    every = list(brute.vertices(program))
    for block in VertexGraph(program).blocks(20):
        for row in range(len(block.tile)):
            family, point = every[block.first_vertex + row]
            assert block.codelet is family.codelet
            assert (block.layer, block.layer_pass) == ("layer", "forward")
            assert int(block.tile[row]) == int(family.tile.dense().reshape(-1)[point])
            for field in block.fields:
                runs = brute.vertex_runs(family.fields[field.name], point)
                begins = field.begins[row]
                ends = begins + field.lengths
                assert field.variable == family.fields[field.name].variable
                assert list(zip(begins.tolist(), ends.tolist(), strict=True)) == sorted(
                    runs, key=lambda run: run[0]
                )


@settings(max_examples=150, deadline=None)
@given(programs())
def test_poplars_count_equals_brute_force(program: Program) -> None:
    assert count_program(program) == Counts(
        vertices=sum(1 for _ in brute.vertices(program)),
        edges=brute.field_slots(program),
        messages=brute.messages(program),
        variables=len(program.variables),
        compute_sets=brute.steps_of(program),
    )


@settings(max_examples=60, deadline=None)
@given(programs(), st.integers(1, 5))
def test_small_chunks_change_nothing(program: Program, limit: int) -> None:
    chunks = functools.partial(point_chunks, limit=limit)
    with pytest.MonkeyPatch.context() as patch:
        for module in (messages, regions):
            patch.setattr(module, "CHUNK", limit)
            patch.setattr(module, "point_chunks", chunks)
        assert count_program(program).messages == brute.messages(program)
        found, pairs = brute.graph(program)
        counts = count_graph(program)
    assert (counts.regions, counts.edges) == (len(found), len(pairs))


def fully_connected() -> Program:
    """A layer of 9216 inputs and 4096 outputs, one vertex for each row of each of 32 slices.

    A second family reads 4 columns of 107 rows, as a backward pass does, which cuts the weights
    into words of 4. Its windows leave rows 4066.. whole, so that both kinds of region occur.
    """
    rows, slices, length, groups = 4096, 32, 288, 38
    columns = slices * length
    sizes = {"in": columns, "weights": rows * columns, "out": rows * slices, "delta": rows}
    variables = [
        Variable(i, name, "float32", (size,), linear_mapping(size, 1472, 1))
        for i, (name, size) in enumerate(sizes.items())
    ]
    each = np.arange(rows)
    forward = VertexFamily(
        BinaryOp("add"),
        (rows, slices),
        separable(0, each * 46 // rows * slices, range(slices)),
        {
            "a": Access(0, separable(0, 0 * each, np.arange(slices) * length), (length,), (1,)),
            "b": Access(
                1, separable(0, each * columns, np.arange(slices) * length), (length,), (1,)
            ),
            "out": Access(2, separable(0, each * slices, range(slices)), (), ()),
        },
    )
    per, group, words = rows // groups, np.arange(groups), np.arange(columns // 4)
    backward = VertexFamily(
        BinaryOp("add"),
        (groups, len(words)),
        separable(0, group * slices, words // (length // 4)),
        {
            "a": Access(3, separable(0, group * per, 0 * words), (per,), (1,)),
            "b": Access(1, separable(0, group * per * columns, words * 4), (per, 4), (columns, 1)),
            "out": Access(0, separable(0, 0 * group, words * 4), (4,), (1,)),
        },
    )
    sets = [ComputeSet("forward", (forward,)), ComputeSet("backward", (backward,))]
    return Program(CATALOGUE["gc200"], variables, {}, Sequence(tuple(Execute(s) for s in sets)))


def test_a_large_layer_is_counted_and_listed_in_bounded_time_and_memory() -> None:
    program = fully_connected()
    tracemalloc.start()
    try:
        graph = VertexGraph(program)
        edges = graph.edges()
        start = time.perf_counter()
        listed = sum(len(block.regions) for block in graph.blocks())
        seconds = time.perf_counter() - start
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    rows, words, read = 4096, 2304, 38 * 107
    # Regions: input words, weights (words where the second family reads, else slices), outputs,
    # and one slice of delta for each group.
    weights = read * words + (rows - read) * 32
    assert graph.regions == words + weights + rows * 32 + 38
    # Edges: each vertex's input words and weights, and its output; the same for the second family.
    forward = rows * words + weights + rows * 32
    backward = 38 * words + read * words + 38 * words
    assert edges == listed == forward + backward
    assert peak < 300e6
    # Measured over 200 million a second; the promise is 5.
    assert listed / seconds > 5e6


def test_vector_add_by_hand() -> None:
    build = Builder(TINY)
    a, b, out = (build.variable(name, "float32", (8,)) for name in "abc")
    build.map(a, [0], [0])
    build.map(b, [0, 2, 4, 6], [0, 1, 2, 3])
    build.map(out, [0, 2, 4, 6], [0, 1, 2, 3])
    with build.compute_set("add") as add:
        fields = {"a": a, "b": b, "out": out}
        accesses = {name: build.blocks(tensor, [4]) for name, tensor in fields.items()}
        add.add(BinaryOp("add"), [0, 1, 2, 3], **accesses)
    program = build.build()
    # Three tiles fetch their part of a from tile 0; all else is local.
    assert count_program(program) == Counts(4, 12, 3, 3, 1)
    assert count_graph(program) == GraphCounts(16, 4, 12, 12)


def test_overlapping_windows_cut_each_other() -> None:
    # Windows 0..4, 2..6, 4..8 of ten elements: regions 0..2, 2..4, 4..6, 6..8; 8..10 is no node.
    access = Access(0, separable(0, [0, 2, 4]), (4,), (1,))
    cut = cut_variable(10, [access])
    assert cut.begins.tolist() == [0, 2, 4, 6]
    assert cut.ends.tolist() == [2, 4, 6, 8]


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 900), st.integers(1, 60))
def test_rank_counts_the_regions_before(size: int, step: int) -> None:
    access = Access(0, separable(0, range(0, size, step)), (1,), (1,))
    cut = cut_variable(size, [access])
    elements = np.arange(size + 1)
    expected = [sum(1 for b in cut.begins if b < e) for e in elements]
    assert cut.rank(elements).tolist() == expected


def test_a_window_outside_its_variable_is_named() -> None:
    build = Builder(TINY)
    x = build.variable("x", "float32", (8,))
    build.map_linear(x)
    with build.compute_set("bad") as bad:
        field = build.field(x, [[0, 6]], (3,))
        bad.add(BinaryOp("add"), [0, 1], a=field, b=field, out=field)
    with pytest.raises(ProgramError, match='elements 0 to 8 of "x", which has 8'):
        VertexGraph(build._program())


def test_a_function_called_twice_exists_once() -> None:
    build = Builder(TINY)
    x = build.variable("x", "float32", (8,))
    build.map_linear(x)
    with build.function("body"), build.compute_set("double") as double:
        field = build.blocks(x, [4])
        double.add(BinaryOp("add"), [0, 1, 2, 3], a=field, b=field, out=field)
    build.call("body")
    build.call("body")
    assert count_graph(build._program()) == GraphCounts(8, 4, 4, 4)
