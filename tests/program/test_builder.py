"""Authoring programs: what the Builder makes, and what it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from tensor_views import FILLED, Pair, views

from ipuc.codelets.binary import BinaryOp
from ipuc.codelets.reduce import Reduce
from ipuc.emulator import run, strict
from ipuc.errors import ProgramError, ShapeError, ValueRangeError
from ipuc.program.builder import Builder
from ipuc.program.family import separable
from ipuc.program.program import Program
from ipuc.program.steps import Copy, Execute, If, Repeat
from ipuc.program.tensor import Fill, Tensor, View, concat, fill
from ipuc.target import parse_target

TINY = parse_target("tiny")
Array = NDArray[Any]


def _graph(tensor: Tensor) -> tuple[Builder, Array]:
    """A builder that holds the variable which a random view sees."""
    graph = Builder(TINY)
    used = [p.source for p in tensor.pieces]
    size = 1 + max((_last(s) for s in used), default=0)
    values = np.arange(size, dtype=np.float32)
    graph.constant("v", values)
    return graph, values


def _last(source: View | Fill) -> int:
    """Last element that a box touches."""
    if isinstance(source, Fill):
        return 0
    factors = [factor for axis in source.axes for factor in axis]
    return source.offset + sum(max(0, (n - 1) * s) for n, s in factors)


def _outputs(program: Program) -> dict[str, Array]:
    fast, private = run.run(program, {}), strict.run(program, {})
    for name, values in fast.items():
        np.testing.assert_array_equal(values, private[name], strict=True)
    return fast


@settings(max_examples=150, deadline=None)
@given(views())
def test_a_copied_view_is_numpys(pair: Pair) -> None:
    tensor, ref = pair
    graph, _ = _graph(tensor)
    graph.output("copy", graph.copy(tensor))
    graph.output("view", tensor)
    solid = graph.solid(tensor)
    graph.output("solid", solid)
    flat = graph.reshape(tensor, (tensor.size,))
    graph.output("flat", flat)
    graph.map_rest()
    program = graph.build()
    got = _outputs(program)
    for name in ("copy", "view", "solid"):
        np.testing.assert_array_equal(got[name], ref.astype(np.float32), strict=True)
    np.testing.assert_array_equal(got["flat"], ref.reshape(-1).astype(np.float32), strict=True)
    if tensor.size:
        view = solid.view()
        assert view is not None
        assert all(len(axis) == 1 for axis in view.axes)


@settings(max_examples=100, deadline=None)
@given(views(), st.data())
def test_blocks_cut_a_tensor_into_equal_parts(pair: Pair, data: st.DataObject) -> None:
    tensor, ref = pair
    if not ref.size:
        return
    parts = [
        data.draw(st.sampled_from([p for p in (1, 2, 3) if n % p == 0] if n else [1]))
        for n in ref.shape
    ]
    graph, _ = _graph(tensor)
    solid = graph.solid(tensor)
    access = graph.blocks(solid, parts)
    count = int(np.prod(parts))
    out = graph.variable("out", "float32", (count, *access.shape))
    size = ref.size // count
    with graph.compute_set("double") as work:
        strides = [size * int(np.prod(parts[axis + 1 :])) for axis in range(len(parts))]
        tables = [step * np.arange(n) for step, n in zip(strides, parts, strict=True)]
        tile = separable(0, *(np.zeros(n, np.int64) for n in parts))
        work.add(
            BinaryOp("add"), tile, a=access, b=access, out=graph.field(out, tables, access.shape)
        )
    graph.output("out", out)
    graph.map_rest()
    got = _outputs(graph.build())["out"]
    split = ref.astype(np.float32)
    for point, index in enumerate(np.ndindex(*parts)):
        place = tuple(slice(i * n, (i + 1) * n) for i, n in zip(index, access.shape, strict=True))
        np.testing.assert_array_equal(got[point], 2 * split[place])


@st.composite
def chains(draw: st.DrawFn) -> tuple[Program, dict[str, Array], Array]:
    """Random elementwise programs on random tiles and mappings, and their result by NumPy."""
    graph = Builder(TINY)
    size = 12
    inputs: dict[str, Array] = {}
    known: list[tuple[Tensor, Array]] = []
    for name in ("x", "y"):
        inputs[name] = np.random.default_rng(len(known)).integers(-9, 9, size).astype(np.float32)
        known.append((graph.input(name, "float32", (size,)), inputs[name]))
    for number in range(draw(st.integers(1, 4))):
        (a, left), (b, right) = draw(st.sampled_from(known)), draw(st.sampled_from(known))
        op = draw(st.sampled_from(["add", "sub", "mul"]))
        made = graph.variable(f"t{number}", "float32", (size,))
        parts = draw(st.sampled_from([1, 2, 3, 4, 6]))
        if draw(st.booleans()):
            b, right = b.slice(0, size - 1, -1, -1), right[::-1]
        with graph.compute_set(f"step {number}") as work:
            tiles = draw(st.lists(st.integers(0, 3), min_size=parts, max_size=parts))
            fields = {
                name: graph.blocks(tensor, [parts])
                for name, tensor in (("a", a), ("b", b), ("out", made))
            }
            work.add(BinaryOp(op), tiles, **fields)
        apply = {"add": np.add, "sub": np.subtract, "mul": np.multiply}[op]
        known.append((made, apply(left, right)))
    for tensor, _ in known:
        if draw(st.booleans()):
            cuts = sorted(draw(st.sets(st.integers(1, size - 1), max_size=3)))
            homes = draw(st.lists(st.integers(0, 3), min_size=4, max_size=4))
            graph.map(tensor, [0, *cuts], homes[: len(cuts) + 1])
    graph.map_rest()
    graph.output("out", known[-1][0])
    return graph.build(), inputs, known[-1][1]


@settings(max_examples=100, deadline=None)
@given(chains())
def test_random_legal_programs_compute_what_numpy_does(
    made: tuple[Program, dict[str, Array], Array],
) -> None:
    program, inputs, want = made
    # whole numbers: every mode and order gives NumPy's bits
    np.testing.assert_array_equal(run.run(program, inputs)["out"], want)
    np.testing.assert_array_equal(strict.run(program, inputs)["out"], want)


def test_a_tensor_is_a_field_that_every_vertex_reaches() -> None:
    graph = Builder(TINY)
    x = graph.constant("x", np.arange(6, dtype=np.float32).reshape(2, 3))
    out = graph.variable("out", "float32", (2, 3))
    with graph.compute_set("sum") as work:
        first = graph.reshape(out.slice(0, 0, 1), (3,))
        row = work.add(Reduce("sum"), 3, x=x.transpose((1, 0)), out=first)
        each = graph.field(out, [[3, 4, 5]], ())
        work.add(Reduce("sum", axes=2), [0, 1, 2], x=x, out=each)
    assert row.grid == (1,)
    graph.output("out", out)
    graph.map_rest()
    np.testing.assert_array_equal(_outputs(graph.build())["out"], [[3, 5, 7], [15, 15, 15]])


def test_steps_are_in_the_order_they_are_written() -> None:
    graph = Builder(TINY)
    x = graph.input("x", "int32", (1,))
    with graph.function("once"), graph.compute_set("double") as work:
        work.add(BinaryOp("add"), 0, a=x, b=x, out=x)
    with graph.repeat(3):
        graph.call("once")
        graph.copy(x)
    graph.branch(x, "once", "once")
    with graph.compute_set("empty"):
        pass
    graph.output("x", x)
    graph.map_rest()
    program = graph.build()
    kinds = [type(step) for step in program.main.steps]
    assert kinds[1:3] == [Repeat, If]
    assert len(kinds) == 4
    assert [type(step) for step in program.bodies() if isinstance(step, Copy | Execute)] == [
        Execute,
        Copy,
    ]
    assert run.run(program, {"x": np.array([3], np.int32)})["x"] == 48
    assert run.run(program, {"x": np.array([0], np.int32)})["x"] == 0


def test_a_condition_may_be_part_of_a_variable() -> None:
    graph = Builder(TINY)
    flags = graph.constant("flags", np.array([[True, False]]))
    x = graph.constant("x", np.ones(1, np.float32))
    with graph.function("double"), graph.compute_set("double") as work:
        work.add(BinaryOp("add"), 0, a=x, b=x, out=x)
    with graph.function("cancel"), graph.compute_set("cancel") as work:
        work.add(BinaryOp("sub"), 0, a=x, b=x, out=x)
    graph.branch(flags.slice(1, 0, 1), "double", "cancel")
    graph.output("first", x)
    graph.branch(flags.slice(1, 1, 2), "double", "cancel")
    graph.output("second", x)
    graph.map_rest()
    got = _outputs(graph.build())
    assert got["first"] == 2
    assert got["second"] == 0


def test_64_bit_integers_are_carried_as_32() -> None:
    graph = Builder(TINY)
    x = graph.constant("x", np.array([3, -4]))
    assert x.dtype == "int32"
    graph.output("x", x, "int64")
    graph.map_rest()
    assert _outputs(graph.build())["x"].dtype == np.int64
    with pytest.raises(ValueRangeError, match="does not fit"):
        graph.constant("y", np.array([1 << 40]))


def test_what_cannot_be_built_is_refused() -> None:
    graph = Builder(TINY)
    x = graph.variable("x", "float32", (6, 4))
    joined = concat([x, x], 0)
    with pytest.raises(ShapeError, match="tiles carry no float64"):
        graph.variable("d", "float64", (1,))
    with pytest.raises(ProgramError, match="only a whole variable can be mapped"):
        graph.map(x.slice(0, 0, 3), [0], [0])
    with pytest.raises(ProgramError, match="only a whole variable can be mapped"):
        graph.map_linear(joined)
    with pytest.raises(ProgramError, match="a tensor of 2 pieces cannot be one field"):
        graph.blocks(joined, [1, 1])
    with pytest.raises(ShapeError, match="6 elements do not split into 4 equal parts"):
        graph.blocks(x, [4, 1])
    merged = x.transpose((1, 0)).reshape((24,))
    assert merged is not None
    with pytest.raises(ShapeError, match="this axis is not one run"):
        graph.blocks(merged, [2])
    with (
        pytest.raises(ProgramError, match="an axis of this tensor is not one run"),
        graph.compute_set("bad") as work,
    ):
        work.add(BinaryOp("add"), 0, a=merged, b=merged, out=x)
    with pytest.raises(ShapeError, match=r"cannot copy \(4, 6\) onto \(6, 4\)"):
        graph.copy_into(x, x.transpose((1, 0)))
    with pytest.raises(ProgramError, match="a constant fill cannot be written"):
        graph.copy_into(fill(FILLED, (6, 4), "float32"), x)
    with pytest.raises(ProgramError, match='no function is called "f"'):
        graph.call("f")
    with graph.function("f"):
        pass
    with pytest.raises(ProgramError, match='no function is called "g"'):
        graph.branch(x, "f", "g")
    for condition in (x, x.slice(0, 0, 1).slice(1, 0, 1)):
        with pytest.raises(ShapeError, match="a condition is one bool or int32 element"):
            graph.branch(condition, "f", "f")


def test_steps_written_before_a_fault_stay_where_they_were() -> None:
    graph = Builder(TINY)
    graph.input("x", "float32", (2,))
    with pytest.raises(ProgramError), graph.repeat(2):
        graph.call("nowhere")
    assert len(graph._program().main.steps) == 1


def test_a_name_stands_for_one_thing() -> None:
    builder = Builder(parse_target("tiny"))
    x = builder.input("x", "float32", (4,))
    builder.output("y", x)
    with builder.function("f"):
        pass
    with pytest.raises(ProgramError, match='input "x" already'):
        builder.input("x", "float32", (4,))
    with pytest.raises(ProgramError, match='output "y" already'):
        builder.output("y", x)
    with pytest.raises(ProgramError, match='function "f" already'), builder.function("f"):
        pass
