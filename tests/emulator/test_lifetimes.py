"""Memory that is used again must not change a result: with and without, and at full size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ipuc import zoo
from ipuc.codelets.binary import BinaryOp
from ipuc.emulator.lifetimes import last_uses, wholly_written
from ipuc.emulator.run import Emulator
from ipuc.pipeline import compile_model, random_inputs
from ipuc.planner.context import Granularity
from ipuc.program.builder import Builder
from ipuc.program.program import Program
from ipuc.program.tensor import Tensor
from ipuc.target import parse_target


def chain(length: int) -> Program:
    """y = x + x + ... of equal variables: all but two can share memory."""
    builder = Builder(parse_target("tiny"))
    at = builder.input("x", "float32", (64,))
    builder.map_linear(at)
    for step in range(length):
        at = doubled(builder, at, f"v{step}")
    builder.output("y", at)
    return builder.build()


def doubled(builder: Builder, x: Tensor, name: str) -> Tensor:
    y = builder.variable(name, "float32", (64,))
    builder.map_linear(y)
    with builder.compute_set(name) as compute_set:
        blocks = builder.blocks(x, [4])
        compute_set.add(BinaryOp("add"), range(4), a=blocks, b=blocks, out=builder.blocks(y, [4]))
    return y


def test_a_chain_needs_two_buffers() -> None:
    program = chain(6)
    emulator = Emulator(program, keep=False)
    x = np.arange(64, dtype=np.float32)
    for _ in range(2):  # the second run finds the memory of the first
        assert np.array_equal(emulator.run({"x": x})["y"], x * 64)
        assert not emulator.memory.arrays
        assert sum(len(free) for free in emulator.memory._free.values()) <= 3


def test_the_last_use_is_the_last() -> None:
    program = chain(3)
    # stream in x; three sums; stream out the last
    assert last_uses(program) == [[], [0], [1], [2], [3]]


@pytest.mark.parametrize("whole", [True, False])
def test_what_a_function_writes_whole_is_given_up_after_every_call(*, whole: bool) -> None:
    builder = Builder(parse_target("tiny"))
    x = builder.input("x", "float32", (8,))
    made = builder.variable("inside", "float32", (8,))
    for tensor in (x, made):
        builder.map_linear(tensor)
    part = 8 if whole else 4
    with builder.function("double"):
        with builder.compute_set("first") as compute_set:
            first, into = (builder.blocks(t.slice(0, 0, part), [4]) for t in (x, made))
            compute_set.add(BinaryOp("add"), range(4), a=first, b=first, out=into)
        with builder.compute_set("second") as compute_set:
            first, into = (builder.blocks(t, [4]) for t in (made, x))
            compute_set.add(BinaryOp("add"), range(4), a=first, b=first, out=into)
    builder.call("double")
    builder.copy_into(x, x, "between")
    builder.call("double")
    builder.output("y", x)
    program = builder.build()
    # x in, call, copy, call, x out
    assert last_uses(program) == [[], [1] if whole else [], [], [1], [0]]
    values = np.arange(8, dtype=np.float32)
    wanted = values * 16
    if not whole:
        wanted[4:] = 0  # never written, so 0 at both calls
    for _ in range(2):
        assert np.array_equal(Emulator(program, keep=False).run({"x": values})["y"], wanted)


def test_a_part_is_not_the_whole() -> None:
    builder = Builder(parse_target("tiny"))
    x = builder.input("x", "float32", (8,))
    y = builder.variable("y", "float32", (8,))
    for tensor in (x, y):
        builder.map_linear(tensor)
    with builder.compute_set("half") as compute_set:
        first, into = (builder.blocks(t.slice(0, 0, 4), [4]) for t in (x, y))
        compute_set.add(BinaryOp("add"), range(4), a=first, b=first, out=into)
    program = builder.build()
    assert wholly_written(program, program.compute_sets()[0]) == set()
    assert wholly_written(chain(1), chain(1).compute_sets()[0]) == {1}


@pytest.mark.parametrize("granularity", ["tile", "worker", "fine"])
def test_a_network_gives_the_same_bits(tmp_path: Path, granularity: Granularity) -> None:
    path = tmp_path / "digits.onnx"
    zoo.write("digits", path)
    program = compile_model(path, target=parse_target("gc200,tiles=64"), granularity=granularity)
    inputs = random_inputs(program, 0)
    kept = Emulator(program).run(inputs)
    sparing = Emulator(program, keep=False)
    for _ in range(2):
        found = sparing.run(inputs)
        assert all(np.array_equal(found[name], kept[name]) for name in kept)
