"""Joining families: what lies side by side becomes one, what does not stays apart."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ipuc.codelets.binary import BinaryOp
from ipuc.codelets.conv_partial import ConvPartial
from ipuc.emulator import run, strict
from ipuc.emulator.coalesce import coalesce
from ipuc.program.builder import Builder, ComputeSetBuilder
from ipuc.program.family import VertexFamily, separable
from ipuc.program.split import split_axis
from ipuc.program.tensor import Tensor
from ipuc.target import parse_target

TINY = parse_target("tiny")


def _uneven(graph: Builder, work: ComputeSetBuilder, x: Tensor, out: Tensor) -> None:
    """Double 10 elements in 4 parts: two of 2 elements and two of 3."""
    for part in split_axis(10, 4):
        fields = {
            name: graph.field(tensor, [part.begin], (part.size,))
            for name, tensor in (("a", x), ("b", x), ("out", out))
        }
        work.add(BinaryOp("add"), [int(i) for i in part.index], **fields)


def test_an_uneven_split_is_one_operation() -> None:
    graph = Builder(TINY)
    x, out = graph.input("x", "float32", (10,)), graph.variable("out", "float32", (10,))
    with graph.compute_set("double") as work:
        _uneven(graph, work, x, out)
    assert len(work.families) == 2
    (joined,) = coalesce(work.families)
    assert joined.grid == (1,)
    assert joined.windows() == {"a": (10,), "b": (10,), "out": (10,)}
    graph.output("out", out)
    graph.map_rest()
    values = np.random.default_rng(0).normal(size=10).astype(np.float32)
    np.testing.assert_array_equal(run.run(graph.build(), {"x": values})["out"], 2 * values)


def test_a_missing_vertex_keeps_the_others_apart() -> None:
    graph = Builder(TINY)
    x, out = graph.variable("x", "float32", (9,)), graph.variable("out", "float32", (9,))
    with graph.compute_set("double") as work:
        part = {"a": x, "b": x, "out": out}
        fields = {name: graph.field(tensor, [[0, 6]], (3,)) for name, tensor in part.items()}
        work.add(BinaryOp("add"), [0, 1], **fields)
    (alone,) = coalesce(work.families)
    assert alone.count == 2
    assert alone.windows() == work.families[0].windows()


def test_tables_that_meet_on_different_bases_are_no_row() -> None:
    graph = Builder(TINY)
    x, out = graph.input("x", "float32", (20,)), graph.variable("out", "float32", (20,))
    with graph.compute_set("double") as work:
        for tile, (base, begin) in enumerate(((0, 0), (10, 3))):
            fields = {
                name: replace(graph.field(tensor, [[0]], (3,)), offset=separable(base, [begin]))
                for name, tensor in (("a", x), ("b", x), ("out", out))
            }
            work.add(BinaryOp("add"), [tile], **fields)
    graph.output("out", out)
    graph.map_rest()
    values = np.random.default_rng(2).normal(size=20).astype(np.float32)
    want = np.zeros(20, np.float32)
    for place in (slice(0, 3), slice(13, 16)):
        want[place] = 2 * values[place]
    assert len(coalesce(work.families)) == 2
    np.testing.assert_array_equal(run.run(graph.build(), {"x": values})["out"], want)


def _row(pads: list[tuple[int, int]]) -> tuple[Builder, list[VertexFamily]]:
    """A one-dimensional convolution of 12 elements by 3 in vertices of 4 outputs each.

    The windows hold what exists but for the given zeros.
    """
    graph = Builder(TINY)
    x, weights = graph.input("x", "float32", (12,)), graph.input("weights", "float32", (3,))
    out = graph.variable("out", "float32", (12,))
    whole = (12, 12, 12, 1)  # strides of [batch, group, channel, element]
    with graph.compute_set("conv") as work:
        for vertex, (low, high) in enumerate(pads):
            begin = 4 * vertex - 1 + low
            work.add(
                ConvPartial((1,), (1,), ((low, high),)),
                [vertex],
                x=graph.field(x, [[begin]], (1, 1, 1, 6 - low - high), whole),
                weights=graph.field(weights, [[0]], (1, 1, 1, 3)),
                out=graph.field(out, [[4 * vertex]], (1, 1, 1, 4), whole),
            )
    graph.output("out", out)
    graph.map_rest()
    return graph, work.families


def test_neighbours_with_operands_of_their_own_stay_apart() -> None:
    graph = Builder(TINY)
    x, weights = graph.input("x", "float32", (8,)), graph.input("weights", "float32", (6,))
    out = graph.variable("out", "float32", (8,))
    whole = (8, 8, 8, 1)  # strides of [batch, group, channel, element]
    with graph.compute_set("conv") as work:
        for vertex in range(2):
            work.add(
                ConvPartial((1,), (1,), ((1 - vertex, vertex),)),
                [vertex],
                x=graph.field(x, [[3 * vertex]], (1, 1, 1, 5), whole),
                weights=graph.field(weights, [[3 * vertex]], (1, 1, 1, 3)),
                out=graph.field(out, [[4 * vertex]], (1, 1, 1, 4), whole),
            )
    graph.output("out", out)
    graph.map_rest()
    assert len(coalesce(work.families)) == 2
    random = np.random.default_rng(3)
    inputs = {
        name: random.normal(size=n).astype(np.float32) for name, n in (("x", 8), ("weights", 6))
    }
    seen = np.pad(inputs["x"].astype(np.float64), 1)
    want = [
        np.correlate(seen[4 * v : 4 * v + 6], inputs["weights"][3 * v : 3 * v + 3]) for v in (0, 1)
    ]
    # three float32 products and two sums of numbers near 1
    found = run.run(graph.build(), inputs)["out"]
    np.testing.assert_allclose(found, np.concatenate(want), rtol=0, atol=2e-6)


@pytest.mark.parametrize(
    ("pads", "left"),
    [
        ([(1, 0), (0, 0), (0, 1)], 1),  # zeros at the two ends of the row only
        ([(1, 0), (1, 0), (0, 1)], 3),  # the second vertex sees a border of its own
        ([(1, 1), (1, 1), (1, 1)], 3),
    ],
)
def test_vertices_are_joined_only_where_no_border_lies_between(
    pads: list[tuple[int, int]], left: int
) -> None:
    graph, families = _row(pads)
    assert len(coalesce(families)) == left
    program = graph.build()
    random = np.random.default_rng(1)
    inputs = {
        "x": random.normal(size=12).astype(np.float32),
        "weights": random.normal(size=3).astype(np.float32),
    }
    want = np.empty(12)
    for vertex, (low, high) in enumerate(pads):
        seen = np.zeros(6)
        seen[low : 6 - high] = inputs["x"][4 * vertex - 1 + low : 4 * vertex + 5 - high]
        want[4 * vertex : 4 * vertex + 4] = np.correlate(seen, inputs["weights"], "valid")
    # three float32 products and two sums of numbers near 1
    for mode in (run.run, strict.run):
        np.testing.assert_allclose(mode(program, inputs)["out"], want, rtol=0, atol=2e-6)


@pytest.mark.parametrize(("parts", "calls"), [(2, 2), (64, 1)])
def test_a_large_uneven_operand_is_viewed_in_a_few_pieces_or_copied_at_once(
    parts: int, calls: int
) -> None:
    """Windows of 500 elements, evenly apart within each part; more than 2 ** 18 in all."""
    graph = Builder(TINY)
    count = 640
    begins = (np.arange(count) * 501 + np.arange(count) * parts // count * 7).astype(np.int64)
    size = int(begins[-1]) + 500
    x, out = graph.input("x", "float32", (size,)), graph.variable("out", "float32", (size,))
    with graph.compute_set("double") as work:
        fields = {
            name: graph.field(tensor, [begins], (500,))
            for name, tensor in (("a", x), ("b", x), ("out", out))
        }
        work.add(BinaryOp("add"), (np.arange(count) % 4).tolist(), **fields)
    assert len(coalesce(work.families)) == calls
    graph.output("out", out)
    graph.map_rest()
    values = np.random.default_rng(0).normal(size=size).astype(np.float32)
    found = run.run(graph.build(), {"x": values})["out"]
    reached = (begins[:, None] + np.arange(500)).reshape(-1)
    np.testing.assert_array_equal(found[reached], 2 * values[reached])
