"""Lives of variables: written out by hand, and against values that a run really reads again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipuc import zoo
from ipuc.codelets.binary import BinaryOp
from ipuc.codelets.unary import UnaryOp
from ipuc.pipeline import compile_model
from ipuc.profile.liveness import Liveness, liveness
from ipuc.program.builder import Builder
from ipuc.program.program import Program
from ipuc.program.tensor import Tensor
from ipuc.target import CATALOGUE

TINY = CATALOGUE["tiny"]


def lives(found: Liveness, program: Program) -> dict[str, list[int]]:
    """Steps during which each variable lives, by name."""
    return {
        variable.name: np.flatnonzero(found.live[:, variable.id]).tolist()
        for variable in program.variables
    }


def unary(build: Builder, x: Tensor, out: Tensor, name: str = "neg") -> None:
    with build.compute_set(name) as made:
        made.add(UnaryOp("neg"), 0, x=x, out=out)


def test_a_chain() -> None:
    build = Builder(TINY)
    x = build.input("x", "float32", (8,))  # step 0
    a, b, c = (build.variable(n, "float32", (8,)) for n in "abc")
    w = build.constant("w", np.ones(8, np.float32))
    unary(build, x, a)  # 1
    with build.compute_set("add") as add:  # 2
        add.add(BinaryOp("add"), 0, a=a, b=w, out=b)
    unary(build, x, c)  # 3: nobody reads c
    build.output("y", b)  # 4
    build.map_rest()
    program = build.build()
    found = liveness(program)
    assert lives(found, program) == {
        "x": [0, 1, 2, 3],
        "a": [1, 2],
        "b": [2, 3, 4],
        "c": [3],
        "w": [0, 1, 2, 3, 4],
    }
    assert np.flatnonzero(found.always).tolist() == [4]


def test_a_whole_write_ends_the_old_value_and_a_part_keeps_it() -> None:
    def build_with(second: slice) -> dict[str, list[int]]:
        build = Builder(TINY)
        x = build.input("x", "float32", (8,))  # 0
        a, b, c = (build.variable(n, "float32", (8,)) for n in "abc")
        unary(build, x, a)  # 1
        unary(build, a, b)  # 2
        unary(build, b, c)  # 3
        begin, end = second.start, second.stop
        build.copy_into(a.slice(0, begin, end), x.slice(0, begin, end))  # 4
        build.output("y", a)  # 5
        build.map_rest()
        program = build.build()
        return lives(liveness(program), program)

    assert build_with(slice(0, 8))["a"] == [1, 2, 4, 5]
    assert build_with(slice(0, 5))["a"] == [1, 2, 3, 4, 5]


def test_what_is_carried_round_a_loop_lives_all_through_it() -> None:
    def build_with(times: int) -> dict[str, list[int]]:
        build = Builder(TINY)
        x = build.input("x", "float32", (8,))  # 0
        a, b, t = (build.variable(n, "float32", (8,)) for n in "abt")
        unary(build, x, a)  # 1
        with build.repeat(times):
            unary(build, a, b)  # 2
            unary(build, b, t)  # 3
            unary(build, t, a)  # 4
        build.output("y", b)  # 5
        build.map_rest()
        program = build.build()
        return lives(liveness(program), program)

    assert build_with(3) == {"x": [0, 1], "a": [1, 2, 4], "b": [2, 3, 4, 5], "t": [3, 4]}
    assert build_with(1)["a"] == [1, 2, 4]


def test_branches_join() -> None:
    build = Builder(TINY)
    x = build.input("x", "float32", (8,))  # 0
    flag = build.constant("flag", np.array([True]))
    a, b = (build.variable(n, "float32", (8,)) for n in "ab")
    with build.function("yes"):
        unary(build, x, b)
    with build.function("no"):
        unary(build, a, b)
    unary(build, x, a)  # 1
    build.branch(flag, "yes", "no")  # 2, then 3 or 4
    build.output("y", b)  # 5
    build.map_rest()
    program = build.build()
    found = lives(liveness(program), program)
    assert found["x"] == [0, 1, 2, 3]
    assert found["a"] == [1, 2, 4]
    assert found["b"] == [3, 4, 5]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 4), st.integers(0, 4), st.booleans()).filter(
            lambda step: step[0] != step[1]
        ),
        min_size=1,
        max_size=8,
    )
)
def test_straight_programs_against_a_search(steps: list[tuple[int, int, bool]]) -> None:
    """A value lives in a step if it was written by then and is read later unless overwritten."""
    build = Builder(TINY)
    tensors = [build.variable(f"v{n}", "float32", (4,)) for n in range(5)]
    for source, into, whole in steps:
        end = 4 if whole else 2
        build.copy_into(tensors[into].slice(0, 0, end), tensors[source].slice(0, 0, end))
    build.map_rest()
    program = build.build()
    found = liveness(program).live
    for row, (source, into, _) in enumerate(steps):
        for variable in range(5):
            touched = variable in (source, into)
            written = any(step[1] == variable for step in steps[:row])
            later = next(
                (
                    step[0] == variable
                    for step in steps[row + 1 :]
                    if step[0] == variable or (step[1] == variable and step[2])
                ),
                False,
            )
            replaced = into == variable and steps[row][2]
            assert found[row, variable] == (touched or (written and later and not replaced))


def test_a_network(tmp_path: Path) -> None:
    program = compile_model(zoo.write("digits", tmp_path / "digits.onnx"), target=TINY)
    found = liveness(program)
    weights = np.zeros(len(program.variables), bool)
    weights[list(program.constants)] = True
    assert (found.always == weights).all()
    # activations come and go
    assert found.live[:, ~weights].mean() < 0.4
    assert found.live[:, ~weights].any(axis=0).all()


@pytest.mark.parametrize("rounds", [1, 3])
def test_a_sweep_is_one_step(rounds: int) -> None:
    build = Builder(TINY)
    x = build.input("x", "float32", (rounds, 4))  # 0
    total = build.variable("total", "float32", (4,))
    out = build.variable("out", "float32", (4,))
    with build.compute_set("sweep", sweep=True) as sweep:  # 1
        tables = [np.arange(rounds) * 4]
        into = build.field(total, [np.zeros(rounds, np.int64)], (4,), (1,))
        sweep.add(UnaryOp("neg"), [0] * rounds, x=build.field(x, tables, (4,), (1,)), out=into)
    unary(build, total, out)  # 2
    build.output("y", out)  # 3
    build.map_rest()
    program = build.build()
    found = liveness(program)
    assert lives(found, program) == {"x": [0, 1], "total": [1, 2], "out": [2, 3]}
    assert found.steps[1].fills == {total_id(program)}


def total_id(program: Program) -> int:
    return next(v.id for v in program.variables if v.name == "total")
