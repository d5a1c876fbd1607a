"""The fast mode: what the host gives and gets, and stores that may not disturb each other."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray

from ipuc.codelets.binary import BinaryOp
from ipuc.codelets.define import Batch, Codelet, FieldSpec, InOut
from ipuc.emulator import run, strict
from ipuc.errors import ShapeError, ValueRangeError
from ipuc.program.builder import Builder
from ipuc.program.program import Program
from ipuc.program.steps import Step
from ipuc.program.tensor import concat
from ipuc.target import Target, parse_target

Array = NDArray[Any]


class SwapForTests(Codelet):
    """Exchange two vectors: each output is a view of the other's memory."""

    name: ClassVar[str] = "SwapForTests"
    fields: ClassVar[tuple[FieldSpec, ...]] = (InOut("a"), InOut("b"))

    def compute(self, batch: Batch, **operands: Array) -> dict[str, Array]:
        del batch
        return {"a": operands["b"], "b": operands["a"]}

    def cycles(self, target: Target, windows: Any, itemsize: int) -> int:
        del target, windows, itemsize
        return 1


def _double(dtype: str) -> Program:
    graph = Builder(parse_target("tiny"))
    x = graph.input("x", dtype, (2, 3))
    out = graph.variable("out", dtype, (2, 3))
    with graph.compute_set("double") as work:
        work.add(BinaryOp("add"), 0, a=x, b=x, out=out)
    graph.output("out", out, dtype)
    graph.map_rest()
    return graph.build()


@pytest.mark.parametrize("mode", [run.run, strict.run])
def test_one_store_does_not_disturb_another(mode: Any) -> None:
    graph = Builder(parse_target("tiny"))
    a, b = graph.input("a", "float32", (6,)), graph.input("b", "float32", (6,))
    with graph.compute_set("swap") as work:
        work.add(SwapForTests(), [1, 2], a=graph.blocks(a, [2]), b=graph.blocks(b, [2]))
    graph.output("a", a)
    graph.output("b", b)
    graph.map_rest()
    x, y = np.random.default_rng(0).normal(size=(2, 6)).astype(np.float32)
    got = mode(graph.build(), {"a": x, "b": y})
    np.testing.assert_array_equal(got["a"], y)
    np.testing.assert_array_equal(got["b"], x)


@pytest.mark.parametrize("dtype", ["int64", "uint64", "int32", "float16"])
def test_the_host_keeps_its_element_type(dtype: str) -> None:
    x = np.arange(6, dtype=dtype).reshape(2, 3)
    np.testing.assert_array_equal(run.run(_double(dtype), {"x": x})["out"], 2 * x, strict=True)


@pytest.mark.parametrize("number", [2**31, -(2**31) - 1])
def test_a_64_bit_integer_that_does_not_fit_is_refused(number: int) -> None:
    with pytest.raises(ValueRangeError, match=f"{number} does not fit"):
        run.run(_double("int64"), {"x": np.array([[number, 0, 0], [0, 0, 0]])})


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ({}, '"x" is not given'),
        ({"x": np.zeros((2, 3), np.float32), "y": np.zeros(1)}, '"y" is unknown'),
        ({"x": np.zeros((3, 2), np.float32)}, r"expected float32\[2x3\], found float32\[3x2\]"),
        ({"x": np.zeros((2, 3))}, r"expected float32\[2x3\], found float64\[2x3\]"),
    ],
)
def test_wrong_inputs_are_refused(inputs: dict[str, Array], words: str) -> None:
    with pytest.raises(ShapeError, match=words):
        run.run(_double("float32"), inputs)


def test_constants_are_not_changed_by_a_run() -> None:
    graph = Builder(parse_target("tiny"))
    x = graph.constant("x", np.ones(4, np.float32))
    with graph.compute_set("double") as work:
        work.add(BinaryOp("add"), 0, a=x, b=x, out=x)
    graph.output("x", x)
    graph.map_rest()
    program = graph.build()
    for _ in range(2):
        np.testing.assert_array_equal(run.run(program, {})["x"], np.full(4, 2, np.float32))


def test_an_observer_sees_every_step() -> None:
    program = _double("float32")
    seen: list[tuple[str, float]] = []

    def look(step: Step, memory: run.Memory) -> None:
        seen.append((type(step).__name__, float(memory.read(1).sum())))

    run.Emulator(program, look).run({"x": np.ones((2, 3), np.float32)})
    assert seen == [("StreamIn", 0.0), ("Execute", 12.0), ("StreamOut", 12.0)]


def test_values_of_the_graph_are_kept() -> None:
    program = _double("float16")
    step = program.main.steps[-1]
    program.values = {"s": step.tensor}  # type: ignore[union-attr]
    x = np.arange(6, dtype=np.float16).reshape(2, 3)
    _, values = run.run_values(program, {"x": x})
    np.testing.assert_array_equal(values["s"], 2 * x, strict=True)
    assert run.run_values(program, {"x": x}, [])[1] == {}


@pytest.mark.parametrize("mode", [run.run, strict.run])
def test_a_copy_reads_all_before_it_writes(mode: Any) -> None:
    graph = Builder(parse_target("tiny"))
    x = graph.input("x", "float32", (6,))
    graph.map_linear(x)
    graph.copy_into(x, concat([x.slice(0, 3, 6), x.slice(0, 0, 3)], 0))
    graph.output("y", x)
    values = np.arange(6, dtype=np.float32)
    np.testing.assert_array_equal(mode(graph.build(), {"x": values})["y"], np.roll(values, 3))
