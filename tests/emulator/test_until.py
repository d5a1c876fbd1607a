"""Running up to a step: which occurrence, loops, branches and sweeps; sums done by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from ipuc.codelets.binary_in_place import BinaryOpInPlace
from ipuc.emulator.machine import Array
from ipuc.emulator.until import occurrences, run_until
from ipuc.profile.liveness import liveness
from ipuc.program.family import Access, VertexFamily, separable
from ipuc.program.program import Program
from ipuc.program.steps import Call, ComputeSet, Execute, If, Repeat, Sequence, Step, Sweep
from ipuc.program.variables import TileMapping, Variable
from ipuc.target import parse_target

ONE = np.zeros(1, np.int64)


def variable(id_: int, name: str, dtype: str) -> Variable:
    return Variable(id_, name, dtype, (1,), TileMapping(ONE, ONE))


def add_one(name: str = "add", times: int = 1) -> ComputeSet:
    """sum += 1, at each of `times` positions of the first grid axis."""
    zeros = separable(0, [0] * times)
    fields = {"a": Access(0, zeros, (1,), (1,)), "b": Access(1, zeros, (1,), (1,))}
    family = VertexFamily(BinaryOpInPlace("add"), (times,), zeros, fields)
    return ComputeSet(name, (family,))


def program(*steps: Step, choice: bool = True, **functions: Sequence) -> Program:
    variables = [
        variable(0, "sum", "float32"),
        variable(1, "one", "float32"),
        variable(2, "choice", "bool"),
    ]
    constants = {
        0: np.zeros(1, np.float32),
        1: np.ones(1, np.float32),
        2: np.array([choice]),
    }
    return Program(parse_target("tiny"), variables, constants, Sequence(steps), functions)


def total(read: Callable[[int], Array]) -> float:
    return float(read(0)[0])


def seen(made: Program, wanted: Step, **where: int) -> tuple[float, float] | None:
    return run_until(made, {}, wanted, total, **where)


ADD = Execute(add_one())


def test_occurrences_are_those_of_the_flattened_program() -> None:
    call = Call("twice")
    loop = Repeat(3, Sequence((ADD, call)))
    made = program(ADD, loop, call, twice=Sequence((ADD, ADD)))
    listed = [one.step for one in liveness(made).steps]
    assert sum(step is ADD for step in listed) == occurrences(made, made.main, ADD) == 6
    # The loop runs three times three additions; the last call comes after all of them.
    before = [0, 1, 2, 3, 10, 11]
    for occurrence, value in enumerate(before):
        assert seen(made, ADD, occurrence=occurrence) == (value, value + 1)
    assert seen(made, ADD, occurrence=6) is None


@pytest.mark.parametrize("choice", [True, False])
def test_branches_that_are_not_taken_count_and_are_not_reached(choice: bool) -> None:
    branch = If(2, Sequence((ADD,)), Sequence((ADD, ADD)))
    made = program(branch, ADD, choice=choice)
    assert [one.step for one in liveness(made).steps].count(ADD) == 4
    taken = {0: (0, 1)} if choice else {1: (0, 1), 2: (1, 2)}
    for occurrence in range(3):
        assert seen(made, ADD, occurrence=occurrence) == taken.get(occurrence)
    assert seen(made, ADD, occurrence=3) == (len(taken), len(taken) + 1)
    assert seen(made, branch) == (0, 0)


def test_a_loop_of_no_turns() -> None:
    made = program(Repeat(0, ADD), ADD)
    assert seen(made, ADD, occurrence=0) is None
    assert seen(made, ADD, occurrence=1) == (0, 1)


def test_positions_of_a_sweep() -> None:
    sweep = Sweep(add_one("chain", 4))
    made = program(ADD, sweep)
    for position in range(4):
        assert seen(made, sweep, position=position) == (1 + position, 2 + position)
