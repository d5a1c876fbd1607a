"""The strict mode against plain NumPy, and against the fast mode."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ipuc.codelets.binary import BinaryOp
from ipuc.codelets.reduce import Reduce
from ipuc.emulator import run, strict
from ipuc.errors import ProgramError, TooLarge
from ipuc.program.builder import Builder
from ipuc.program.family import IndexMap, separable
from ipuc.program.program import Program
from ipuc.program.steps import Execute
from ipuc.program.tensor import concat, fill
from ipuc.program.variables import TileMapping
from ipuc.target import parse_target

TINY = parse_target("tiny")
MANY = parse_target("tiny,tiles=64")


def _numbers(*shape: int, dtype: str = "float32") -> NDArray[Any]:
    return np.random.default_rng(7).normal(size=shape).astype(dtype)


def _both(program: Program, **inputs: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """Outputs of the strict mode, once the fast mode gives the same bits."""
    fast, private = run.run(program, inputs), strict.run(program, inputs)
    assert fast.keys() == private.keys()
    for name, values in fast.items():
        np.testing.assert_array_equal(values, private[name], strict=True)
    return private


def _vector_add(tiles: list[int], homes: list[int], dtype: str = "float32") -> Program:
    """16 elements in 4 vertices; operand `a` and the sum live on the given tiles."""
    graph = Builder(TINY)
    a, b = graph.input("a", dtype, (16,)), graph.input("b", dtype, (16,))
    out = graph.variable("out", dtype, (16,))
    graph.map(a, [0, 4, 8, 12], homes)
    graph.map(b, [0], [1])
    graph.map(out, [0, 4, 8, 12], homes)
    with graph.compute_set("add") as add:
        parts = {
            name: graph.blocks(tensor, [4]) for name, tensor in (("a", a), ("b", b), ("out", out))
        }
        add.add(BinaryOp("add"), tiles, **parts)
    graph.output("sum", out)
    return graph.build()


@pytest.mark.parametrize("dtype", ["float32", "float16", "int32", "uint8"])
@pytest.mark.parametrize("homes", [[0, 1, 2, 3], [3, 0, 1, 2], [2, 3, 2, 3]])
def test_vector_add_is_numpys_on_any_mapping(dtype: str, homes: list[int]) -> None:
    a, b = (10 * _numbers(2, 16)).astype(dtype)
    # one addition, rounded once: exactly NumPy's
    wide = np.float32 if dtype == "float16" else np.dtype(dtype)
    want = (a.astype(wide) + b.astype(wide)).astype(dtype)
    got = _both(_vector_add([0, 1, 2, 3], homes, dtype), a=a, b=b)
    np.testing.assert_array_equal(got["sum"], want, strict=True)


def test_the_record_counts_what_moves() -> None:
    machine = strict.StrictEmulator(_vector_add([0, 1, 2, 3], [0, 1, 3, 3]))
    machine.run({"a": _numbers(16), "b": _numbers(16)})
    host_a, host_b, read, write = machine.exchanges
    assert (host_a.step, host_a.phase, host_a.received.tolist()) == ("a", "host", [16, 16, 0, 32])
    assert host_b.received.tolist() == [0, 64, 0, 0]
    # vertex 2 runs on tile 2, its `a` and `out` live on tile 3; all of `b` lives on tile 1
    assert (read.step, read.phase) == ("add", "read")
    assert read.received.tolist() == [16, 0, 32, 16]
    assert read.sent.tolist() == [0, 48, 0, 16]
    assert (write.step, write.phase) == ("add", "write")
    assert write.received.tolist() == [0, 0, 0, 16]
    assert write.sent.tolist() == [0, 0, 16, 0]


def test_shared_operands_arrive_once_and_leave_once() -> None:
    graph = Builder(TINY)
    x = graph.constant("x", _numbers(6))
    out = graph.variable("out", "float32", (6, 1))
    graph.map(x, [0], [0])
    graph.map(out, [0], [0])
    with graph.compute_set("sum") as sums:
        # six vertices on three tiles, all of them read all of x
        where = graph.field(out.reshape((6,)) or out, [range(6)], ())
        sums.add(Reduce("sum"), [1, 1, 2, 2, 3, 3], x=x, out=where)
    graph.output("out", out)
    machine = strict.StrictEmulator(graph.build())
    machine.run({})
    read, write = machine.exchanges
    assert read.received.tolist() == [0, 24, 24, 24]
    assert read.sent.tolist() == [24, 0, 0, 0]
    assert write.received.tolist() == [24, 0, 0, 0]
    assert write.sent.tolist() == [0, 8, 8, 8]


@pytest.mark.parametrize(
    ("dtype", "poison"),
    [("float32", np.nan), ("float16", np.nan), ("bool", True), ("int8", -91), ("uint8", 165)],
)
def test_an_element_that_nobody_made_comes_out_as_poison(dtype: str, poison: float) -> None:
    graph = Builder(TINY)
    x = graph.constant("x", np.zeros(3, dtype))
    out = graph.variable("out", dtype, (5,))
    graph.map_linear(x)
    graph.map(out, [0, 3], [2, 1])
    graph.copy_into(out.slice(0, 1, 4), x)
    graph.output("out", out)
    program = graph.build()
    want = np.array([poison, 0, 0, 0, poison]).astype(dtype)
    np.testing.assert_array_equal(strict.run(program, {})["out"], want)
    assert not run.run(program, {})["out"].any()


def test_an_exchange_that_forgets_an_element_is_found() -> None:
    program = _vector_add([0, 1, 2, 3], [0, 1, 2, 3])
    a, b = _numbers(2, 16)
    (step,) = [s for s in program.main.steps if isinstance(s, Execute)]
    (family,) = step.compute_set.families
    # the exchange is told of three of the four elements of every window of b
    short = dataclasses.replace(family.fields["b"], entries=np.array([[0, 3]]))
    fields = {**family.fields, "b": short}
    families = (dataclasses.replace(family, fields=fields),)
    bad = dataclasses.replace(step.compute_set, families=families)
    program.main = dataclasses.replace(
        program.main,
        steps=tuple(Execute(bad) if s is step else s for s in program.main.steps),
    )
    got = strict.run(program, {"a": a, "b": b})["sum"]
    want = a + b
    want[[3, 11, 15]] = np.nan  # the second vertex runs where b lives
    np.testing.assert_array_equal(got, want)


def test_memory_is_forgotten_between_supersteps() -> None:
    graph = Builder(TINY)
    x, y, z = (graph.variable(name, "float32", (4,)) for name in "xyz")
    for tensor, tile in ((x, 0), (y, 1), (z, 2)):
        graph.map(tensor, [0], [tile])
    graph.copy_into(x, fill(1.0, (4,), "float32"))
    with graph.compute_set("one") as first:
        first.add(BinaryOp("add"), 3, a=x, b=x, out=y)
    graph.copy_into(x, fill(5.0, (4,), "float32"))
    with graph.compute_set("two") as second:
        second.add(BinaryOp("add"), 3, a=x, b=y, out=z)
    graph.output("z", z)
    program = graph.build()
    np.testing.assert_array_equal(_both(program)["z"], np.full(4, 7, np.float32))
    machine = strict.StrictEmulator(program)
    machine.run({})
    for memory, home in zip(machine._private, (0, 1, 2), strict=True):
        assert np.isnan(np.delete(memory, home, axis=0)).all()
        assert not np.isnan(memory[home]).any()


def test_copies_views_and_fills() -> None:
    graph = Builder(MANY)
    x = graph.input("x", "float16", (6, 10))
    graph.map(x, list(range(60)), [(7 * i) % 64 for i in range(60)])
    padded = concat([fill(2.5, (10, 2), "float16"), x.transpose((1, 0)).slice(0, 9, -1, -1)], 1)
    made = graph.copy(padded, "padded")
    graph.map(made, [0, 33], [63, 5])
    graph.output("made", made)
    graph.output("view", padded)
    program = graph.build()
    values = _numbers(6, 10, dtype="float16")
    want = np.pad(values.T[::-1], ((0, 0), (2, 0)), constant_values=2.5)
    got = _both(program, x=values)
    np.testing.assert_array_equal(got["made"], want, strict=True)
    np.testing.assert_array_equal(got["view"], want, strict=True)
    machine = strict.StrictEmulator(program)
    machine.run({"x": values})
    copied = machine.exchanges[1]
    assert copied.phase == "copy"
    home = np.where(np.arange(80) < 33, 63, 5).reshape(10, 8)[:, 2:]
    source = ((7 * np.arange(60)) % 64).reshape(6, 10).T[::-1]
    remote = home != source
    assert copied.received.tolist() == (2 * np.bincount(home[remote], minlength=64)).tolist()
    assert copied.sent.tolist() == (2 * np.bincount(source[remote], minlength=64)).tolist()


def test_an_element_copied_to_many_places_of_a_tile_arrives_once() -> None:
    graph = Builder(TINY)
    x = graph.constant("x", _numbers(2, 1))
    graph.map(x, [0], [0])
    made = graph.copy(x.expand((2, 50)))
    graph.map(made, [0, 50], [1, 2])
    graph.output("made", made)
    machine = strict.StrictEmulator(graph.build())
    np.testing.assert_array_equal(machine.run({})["made"], np.repeat(_numbers(2, 1), 50, 1))
    assert machine.exchanges[0].received.tolist() == [0, 4, 4, 0]
    assert machine.exchanges[0].sent.tolist() == [8, 0, 0, 0]


def test_control_flow() -> None:
    graph = Builder(TINY)
    x, flags = graph.input("x", "float32", (8,)), graph.input("flags", "bool", (2,))
    graph.map(x, [0, 3], [1, 2])
    graph.map(flags, [0, 1], [3, 2])
    with graph.function("double"), graph.compute_set("double") as work:
        halves = graph.blocks(x, [2])
        work.add(BinaryOp("add"), [0, 3], a=halves, b=halves, out=halves)
    with graph.function("square"), graph.compute_set("square") as work:
        work.add(BinaryOp("mul"), 0, a=x, b=x, out=x)
    with graph.repeat(3):
        graph.call("double")
    graph.branch(flags.slice(0, 1, 2), "square", "double")
    graph.output("x", x)
    graph.map_rest()
    program = graph.build()
    values = np.arange(8, dtype=np.float32)
    for flag, want in ((True, (8 * values) ** 2), (False, 16 * values)):
        got = _both(program, x=values, flags=np.array([not flag, flag]))
        np.testing.assert_array_equal(got["x"], want)


def test_a_sweep_is_one_superstep_for_each_position() -> None:
    graph = Builder(TINY)
    x = graph.constant("x", _numbers(5, 8))
    total = graph.variable("total", "float32", (8,))
    graph.map(x, [0, 20], [0, 3])
    graph.map(total, [0, 3], [1, 2])
    graph.copy_into(total, fill(0.0, (8,), "float32"))
    with graph.compute_set("accumulate", sweep=True) as work:
        tile = separable(0, [0] * 5, [1, 2])
        rows = graph.field(x, [8 * np.arange(5), [0, 4]], (4,))
        halves = graph.field(total, [[0] * 5, [0, 4]], (4,))
        work.add(BinaryOp("add"), tile, a=rows, b=halves, out=halves)
    graph.output("total", total)
    program = graph.build()
    want = np.zeros(8, np.float32)
    for row in _numbers(5, 8):
        want += row  # the same additions in the same order
    np.testing.assert_array_equal(_both(program)["total"], want)
    machine = strict.StrictEmulator(program)
    machine.run({})
    assert [e.step for e in machine.exchanges if e.phase == "read"] == [
        f"accumulate[{i}]" for i in range(5)
    ]


def test_values_of_the_graph_are_kept() -> None:
    program = _vector_add([0, 1, 2, 3], [0, 0, 1, 1])
    inputs = {"a": _numbers(16), "b": _numbers(16)}
    step = program.main.steps[-1]
    program.values = {"s": step.tensor}  # type: ignore[union-attr]
    outputs, values = strict.run_values(program, inputs)
    np.testing.assert_array_equal(values["s"], outputs["sum"])
    assert strict.run_values(program, inputs, [])[1] == {}


def test_an_element_without_a_home_is_refused() -> None:
    program = _vector_add([0, 1, 2, 3], [0, 1, 2, 3])
    program.variables[1].mapping = TileMapping(np.array([2]), np.array([0]))
    with pytest.raises(ProgramError, match="element 0 is on no tile of 4") as caught:
        strict.StrictEmulator(program)
    assert caught.value.where == 'variable "b"'
    program.variables[1].mapping = None
    with pytest.raises(ProgramError, match='"b" is not mapped'):
        strict.StrictEmulator(program)
    program.variables[1].mapping = TileMapping(np.array([0, 9]), np.array([0, 4]))
    with pytest.raises(ProgramError, match="element 9 is on no tile of 4"):
        strict.StrictEmulator(program)


def test_two_tiles_that_write_one_element_are_refused() -> None:
    program = _vector_add([0, 1, 2, 3], [0, 1, 2, 3])
    (step,) = [s for s in program.main.steps if isinstance(s, Execute)]
    (family,) = step.compute_set.families
    everywhere = dataclasses.replace(
        family.fields["out"], offset=IndexMap(0, (np.array([0, 4, 7, 12]),))
    )
    fields = {**family.fields, "out": everywhere}
    racing = dataclasses.replace(
        step.compute_set, families=(dataclasses.replace(family, fields=fields),)
    )
    machine = strict.StrictEmulator(program)
    with pytest.raises(ProgramError, match='element 7 of variable "out" is written on tiles 1, 2'):
        machine.execute(racing)


def test_private_memories_are_bounded() -> None:
    program = _vector_add([0, 1, 2, 3], [0, 1, 2, 3])
    inputs = {"a": _numbers(16), "b": _numbers(16)}
    with pytest.raises(TooLarge, match="768 bytes, more than 767"):
        strict.run(program, inputs, max_bytes=767)
    assert strict.run(program, inputs, max_bytes=768)["sum"].shape == (16,)
