"""Poplar's rules: each broken once, and random legal programs pass."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipuc.codelets.binary import BinaryOp
from ipuc.codelets.reduce_add import ReduceAdd
from ipuc.errors import ProgramError
from ipuc.program.builder import Builder
from ipuc.program.family import Access, IndexMap, separable
from ipuc.program.program import Program
from ipuc.program.steps import Call, Copy, Execute, Move, Repeat, Sequence, StreamIn, StreamOut
from ipuc.program.tensor import Piece, Tensor, View, fill
from ipuc.program.variables import TileMapping
from ipuc.program.verify import verify
from ipuc.target import parse_target
from ipuc.types import TensorType

TINY = parse_target("tiny")


def _add(
    out: Any = (0, 3, 6), a: Any = (0, 3, 6), tiles: Any = (0, 1, 2), *, second: Any = None
) -> Program:
    """Three vertices that add three elements each: x + x -> y, unless the offsets say otherwise."""
    graph = Builder(TINY)
    x = graph.input("x", "float32", (9,))
    y = graph.variable("y", "float32", (9,))
    graph.map(x, [0], [1])
    graph.map(y, [0, 4], [2, 3])
    with graph.compute_set("add") as work:
        fields = {
            "a": graph.field(x, [a], (3,)),
            "b": graph.field(x, [a], (3,)),
            "out": graph.field(y, [out], (3,)),
        }
        work.add(BinaryOp("add"), tiles, **fields)
        if second is not None:
            part = {name: graph.field(y, [[at]], (2,)) for name, at in second.items()}
            work.add(BinaryOp("mul"), [3], **part)
    graph.output("y", y)
    return graph._program()


def _fault(program: Program) -> tuple[str, str]:
    with pytest.raises(ProgramError) as caught:
        verify(program)
    return caught.value.what, caught.value.where


def test_a_legal_program_passes() -> None:
    verify(_add())


ADD = 'compute set "add", codelet BinaryOp'


@pytest.mark.parametrize(
    ("changes", "what", "where"),
    [
        pytest.param(
            {"out": (0, 2, 6)},
            'element 2 of variable "y" is written by two vertices',
            f"{ADD}, field out, vertex 0, tile 0",
            id="two-vertices-of-a-family-write",
        ),
        pytest.param(
            {"out": (0, 3, 3)},
            'element 3 of variable "y" is written by two vertices',
            f"{ADD}, field out, vertex 1, tile 1",
            id="two-vertices-write-the-same",
        ),
        pytest.param(
            {"out": (0, 0, 0)},
            'element 0 of variable "y" is written by two vertices',
            f"{ADD}, field out, vertex 1, tile 1",
            id="an-output-shared-by-all",
        ),
        pytest.param(
            {"out": (0, 3, 7)},
            'a window covers elements 0 to 9 of "y", which has 9',
            f"{ADD}, field out",
            id="a-window-leaves-at-the-end",
        ),
        pytest.param(
            {"a": (-1, 3, 6)},
            'a window covers elements -1 to 8 of "x", which has 9',
            f"{ADD}, field a",
            id="a-window-leaves-at-the-begin",
        ),
        pytest.param({"tiles": (0, 4, 2)}, "a vertex is on tile 4 of 4", ADD, id="no-such-tile"),
        pytest.param(
            {"tiles": (0, -1, 2)}, "a vertex is on tile -1 of 4", ADD, id="a-tile-below-0"
        ),
        pytest.param(
            {"out": (0, 3, 6), "second": {"a": 0, "b": 0, "out": 5}},
            'element 5 of variable "y" is written by two vertices',
            f"{ADD}, field out, vertex 0, tile 3",
            id="two-families-write",
        ),
        pytest.param(
            {"out": (0, 2, 2), "second": None},
            'element 2 of variable "y" is written by two vertices',
            f"{ADD}, field out, vertex 0, tile 0",
            id="a-window-overlaps-the-next",
        ),
    ],
)
def test_a_broken_rule_names_the_place(changes: dict[str, Any], what: str, where: str) -> None:
    assert _fault(_add(**changes)) == (what, where)


def test_written_by_one_and_read_by_another() -> None:
    graph = Builder(TINY)
    x = graph.variable("x", "float32", (6,))
    graph.map(x, [0], [0])
    with graph.compute_set("shift") as work:
        here, there = graph.field(x, [[0, 2]], (2,)), graph.field(x, [[2, 4]], (2,))
        work.add(BinaryOp("add"), [1, 3], a=here, b=here, out=there)
    what, where = _fault(graph._program())
    assert what == 'element 2 of variable "x" is written by one vertex and read by another'
    assert where == 'compute set "shift", codelet BinaryOp, field a, vertex 1, tile 3'


def test_a_vertex_may_read_what_it_writes_itself() -> None:
    graph = Builder(TINY)
    x = graph.constant("x", np.ones(8, np.float32))
    with graph.compute_set("in place") as work:
        halves = graph.blocks(x, [2])
        work.add(BinaryOp("add"), [0, 1], a=halves, b=halves, out=halves)
    graph.map_rest()
    graph.build()


@pytest.mark.parametrize(("shape", "strides", "element"), [((3,), (0,), 0), ((2, 3), (2, 1), 2)])
def test_one_vertex_may_not_write_an_element_twice(
    shape: tuple[int, ...], strides: tuple[int, ...], element: int
) -> None:
    graph = Builder(TINY)
    x, y = graph.variable("x", "float32", shape), graph.variable("y", "float32", (8,))
    graph.map_linear(x)
    graph.map_linear(y)
    with graph.compute_set("fold") as work:
        out = graph.field(y, [[0]], shape, strides)
        work.add(BinaryOp("add"), 0, a=x, b=x, out=out)
    what, where = _fault(graph._program())
    assert what == f'element {element} of variable "y" is written twice by one vertex'
    assert where.endswith("field out, vertex 0, tile 0")


def test_explicit_offsets_are_held_to_the_same_rules() -> None:
    graph = Builder(TINY)
    for name in "yx":
        graph.map_linear(graph.variable(name, "float32", (9,)))
    with graph.compute_set("add") as work:
        apart, close = (
            Access(n, IndexMap(0, explicit=np.array([[5, 0]] if n else [[5, 4]])), (2,), (1,))
            for n in (1, 0)
        )
        tile = separable(0, [0], [1, 2])
        work.add(BinaryOp("add"), tile, a=apart, b=apart, out=close)
    what, where = _fault(graph._program())
    assert what == 'element 5 of variable "y" is written by two vertices'
    assert where == 'compute set "add", codelet BinaryOp, field out, vertex 0, tile 1'


@pytest.mark.parametrize(
    ("starts", "tiles", "what"),
    [
        ([], [], "element 0 is on no tile"),
        ([1], [0], "element 0 is on no tile"),
        ([0, 5, 5], [0, 1, 2], "its mapping is not a list of ascending intervals below 9"),
        ([0, 9], [0, 1], "its mapping is not a list of ascending intervals below 9"),
        ([0, 5], [0, 4], "it is mapped to tile 4 of 4"),
        ([0, 5], [0], "its mapping has 2 intervals and 1 tiles"),
        ([0], [0, 1], "its mapping has 1 intervals and 2 tiles"),
        ([0, 5], [-1, 0], "it is mapped to tile -1 of 4"),
    ],
)
def test_a_bad_mapping(starts: list[int], tiles: list[int], what: str) -> None:
    program = _add()
    program.variables[1].mapping = TileMapping(
        np.array(starts, np.int64), np.array(tiles, np.int64)
    )
    assert _fault(program) == (what, 'variable "y"')


def test_an_unmapped_variable() -> None:
    program = _add()
    program.variables[0].mapping = None
    assert _fault(program)[0] == 'variable "x" is not mapped to any tile'


def test_list_entries_cover_the_window() -> None:
    graph = Builder(TINY)
    x = graph.constant("x", np.ones((3, 4), np.float32))
    y = graph.variable("y", "float32", (4,))
    with graph.compute_set("sum") as work:
        whole = graph.field(x, [[0]], (3, 4))
        for entries in ([[0, 12]], [[0, 4], [4, 8]], [[0, 5], [4, 8]]):
            kept = replace(whole, entries=np.array(entries))
            work.add(ReduceAdd(), 0, partials=kept, out=y)
            work.families[:-1] = []
        graph.map_rest()
    verify(graph._program())
    for entries in ([[0, 4], [5, 7]], [[0, 11]], [[-1, 13]], [[0, 14]]):
        with graph.compute_set("bad") as work:
            bad = replace(whole, entries=np.array(entries))
            work.add(ReduceAdd(), 0, partials=bad, out=y)
        assert _fault(graph._program())[0] == "list entries do not cover the window"
        graph._steps.pop()


def _with_step(program: Program, *steps: Any) -> Program:
    return replace(program, main=Sequence((*program.main.steps, *steps)))


def _point(variable: int, offset: int, *window: tuple[int, int]) -> Access:
    shape, strides = tuple(n for n, _ in window), tuple(s for _, s in window)
    return Access(variable, IndexMap(offset), shape, strides)


@pytest.mark.parametrize(
    ("moves", "what"),
    [
        ([Move(_point(1, 7, (3, 1)), None)], 'a window covers elements 7 to 9 of "y"'),
        ([Move(_point(1, 0, (3, 1)), _point(0, 7, (3, 1)))], "a window covers elements 7 to 9"),
        ([Move(_point(1, 0, (3, 0)), None)], 'element 0 of variable "y" is written twice'),
        (
            [Move(_point(1, 0, (3, 1)), None), Move(_point(1, 4, (2, -2)), None)],
            'element 2 of variable "y" is written twice',
        ),
        ([Move(_point(1, 0, (3, 1)), _point(0, 0, (2, 1)))], r"\(2,\) is copied onto \(3,\)"),
        ([Move(_point(2, 0), None)], "there is no variable 2"),
    ],
)
def test_a_bad_copy(moves: list[Move], what: str) -> None:
    with pytest.raises(ProgramError, match=what) as caught:
        verify(_with_step(_add(), Copy("bad", tuple(moves))))
    assert caught.value.where == 'copy "bad"'


def test_a_copy_moves_bytes_and_converts_nothing() -> None:
    program = _add()
    program.variables[0].dtype = "int32"
    step = Copy("bad", (Move(_point(1, 0, (3, 1)), _point(0, 0, (3, 1))),))
    program.main = Sequence((step,))
    assert _fault(program) == ("int32 elements are copied onto float32", 'copy "bad"')


def test_a_body_is_repeated_zero_times_or_more() -> None:
    verify(_with_step(_add(), Repeat(0, Sequence(()))))
    assert _fault(_with_step(_add(), Repeat(-1, Sequence(()))))[0] == (
        "a body is repeated -1 times"
    )


def test_bad_streams_and_constants() -> None:
    program = _add()
    program.inputs["x"] = TensorType("int32", (9,))
    assert _fault(program) == ("int32 elements are written onto float32", 'input "x"')
    program = _add()
    program.inputs["z"] = TensorType("float32", (8,))
    assert _fault(_with_step(program, StreamIn("z", 0, (8,))))[0] == (
        "float32[8] does not fill 9 elements"
    )
    assert _fault(_with_step(program, StreamIn("w", 0, (9,))))[1] == 'input "w"'
    assert _fault(_with_step(program, StreamOut("w", fill(0.0, (1,), "float32"))))[1] == (
        'output "w"'
    )
    program.outputs["w"] = TensorType("float32", (2,))
    outside = Tensor((2,), "float32", (Piece((0,), View(1, 8, (((2, 1),),))),))
    assert _fault(_with_step(program, StreamOut("w", outside)))[0].startswith(
        "a window covers elements 8 to 9"
    )
    program.constants[1] = np.zeros(8, np.float32)
    assert _fault(program) == (
        "its contents are float32[8], the variable is float32[9]",
        'variable "y"',
    )
    program.constants[1] = np.zeros(9, np.float16)
    assert _fault(program)[0] == "its contents are float16[9], the variable is float32[9]"


def test_functions_exist_and_do_not_call_themselves() -> None:
    program = _add()
    assert _fault(_with_step(program, Call("nowhere")))[0] == 'no function is called "nowhere"'
    program.functions.update(f=Sequence((Call("g"),)), g=Sequence((Call("h"), Call("f"))))
    program.functions["h"] = Sequence(())
    assert _fault(program)[0] == "functions call themselves: f, g"
    program.functions["g"] = Sequence((Call("h"), Call("h")))
    verify(_with_step(program, Call("f"), Call("h")))


def test_each_superstep_of_a_sweep_is_checked_alone() -> None:
    def sweep(offsets: list[int]) -> Program:
        graph = Builder(TINY)
        x, y = graph.variable("x", "float32", (4, 6)), graph.variable("y", "float32", (6,))
        with graph.compute_set("sum", sweep=True) as work:
            rows = graph.field(x, [[0, 6, 12, 18], [0, 3]], (3,))
            part = graph.field(y, [[0] * 4, offsets], (3,))
            work.add(BinaryOp("add"), separable(0, [0] * 4, [1, 2]), a=rows, b=part, out=part)
        graph.map_rest()
        return graph._program()

    verify(sweep([0, 3]))
    what, where = _fault(sweep([0, 2]))
    assert what == 'element 2 of variable "y" is written by two vertices'
    assert where.startswith('compute set "sum[0]"')


def test_a_race_in_the_last_superstep_of_a_sweep_only_is_found() -> None:
    graph = Builder(TINY)
    x, y = graph.variable("x", "float32", (4,)), graph.variable("y", "float32", (4,))
    with graph.compute_set("add", sweep=True) as work:
        for out in ([0, 1, 2], [1, 2, 2]):  # both write element 2 in superstep 2
            read = graph.field(x, [[0] * 3], (1,))
            made = graph.field(y, [out], (1,))
            work.add(BinaryOp("add"), [0, 1, 2], a=read, b=read, out=made)
    graph.map_rest()
    what, where = _fault(graph._program())
    assert what == 'element 2 of variable "y" is written by two vertices'
    assert where.startswith('compute set "add[2]"')


def test_functions_and_branches_are_checked_too() -> None:
    graph = Builder(TINY)
    x = graph.constant("x", np.zeros(4, np.float32))
    with graph.function("racing"), graph.compute_set("racing") as work:
        work.add(BinaryOp("add"), [0, 1], a=x, b=x, out=x)
    graph.map_rest()
    assert "is written by two vertices" in _fault(graph._program())[0]


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_race_is_found_exactly_where_there_is_one(data: st.DataObject) -> None:
    """Random offsets; a plain count over elements says whether the program is legal."""
    draw = data.draw
    size, count = draw(st.integers(1, 3)), draw(st.integers(1, 4))
    starts = st.lists(st.integers(0, 12), min_size=count, max_size=count)
    a, out = draw(starts), draw(starts)
    same = draw(st.booleans())
    graph = Builder(TINY)
    x, y = (graph.variable(name, "float32", (16,)) for name in "xy")
    source = y if same else x
    graph.map_linear(x)
    graph.map_linear(y)
    with graph.compute_set("add") as work:
        read = graph.field(source, [a], (size,))
        work.add(BinaryOp("add"), [0] * count, a=read, b=read, out=graph.field(y, [out], (size,)))
    writers: dict[int, set[int]] = {}
    for vertex, start in enumerate(out):
        for element in range(start, start + size):
            writers.setdefault(element, set()).add(vertex)
    races = any(len(found) > 1 for found in writers.values())
    if same:
        races |= any(
            writers.get(element, {vertex}) != {vertex}
            for vertex, start in enumerate(a)
            for element in range(start, start + size)
        )
    program = graph._program()
    if races:
        with pytest.raises(ProgramError, match="is written by"):
            verify(program)
    else:
        verify(program)
    assert any(isinstance(step, Execute) for step in program.main.steps)
