"""What every operator of our own must keep to, from the moment its file exists.

It means what its body says: onnxruntime runs the body on the examples of the op file, or
onnx.reference where that declines, and our vertices are held to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import pytest
from gradient_check import evaluate, functions_of
from onnx import helper
from op_problems import FUNCTIONS

from ipuc.emulator import strict
from ipuc.emulator.run import run
from ipuc.graph.bodies import DOMAIN, parse_body
from ipuc.graph.ir import Graph, Node
from ipuc.lowering.driver import lower
from ipuc.ops.define import Example, Function
from ipuc.planner.context import Granularity
from ipuc.planner.precision import parse_precision
from ipuc.target.catalogue import parse_target
from ipuc.types import TensorType

Array = np.ndarray[Any, np.dtype[Any]]

#: Of the largest value: sums of some hundred terms in another order.
TOLERANCE = 1e-5
#: A handful of roundings of halves.
HALVES = 2.0**-7

by_function = pytest.mark.parametrize("name", FUNCTIONS)


def _graph(op: Function, example: Example, at: int) -> tuple[Graph, dict[str, Array]]:
    """A graph of one node with all outputs, and random inputs."""
    random = np.random.default_rng(at)
    given = {
        f"x{i}": np.asarray(random.uniform(-2, 2, one.shape)).astype(one.dtype)
        if isinstance(one, TensorType)
        else one
        for i, one in enumerate(example.inputs)
        if one is not None
    }
    names = tuple("" if one is None else f"x{i}" for i, one in enumerate(example.inputs))
    made = tuple(f"y{i}" for i in range(len(parse_body(op.body).output)))
    node = Node("node", op.name, names, made, dict(example.attributes), DOMAIN, 1)
    types = {name: TensorType(array.dtype.name, array.shape) for name, array in given.items()}
    types |= dict(zip(made, op.infer(node, [types.get(name) for name in names]), strict=True))
    return Graph(op.name, list(given), list(made), types, {}, [node], 18), given


def _close(found: Mapping[str, Array], wanted: Mapping[str, Array], unit: float) -> None:
    for name, theirs in wanted.items():
        exact = theirs.astype(np.float64)
        scale = float(np.abs(exact).max(initial=0))
        np.testing.assert_allclose(
            found[name].astype(np.float64), exact, rtol=0, atol=unit * scale, err_msg=name
        )


def _cases() -> list[Any]:
    return [
        pytest.param(name, at, id=f"{name}-{at}")
        for name, op in FUNCTIONS.items()
        for at in range(len(op.examples()))
    ]


@pytest.mark.parametrize(("name", "at"), _cases())
@pytest.mark.parametrize("target", ["tiny", "gc200,tiles=64"])
@pytest.mark.parametrize("granularity", ["tile", "worker"])
def test_results(name: str, at: int, target: str, granularity: Granularity) -> None:
    """Types too are what the body gives; tiles hold and exchange what they need."""
    op = FUNCTIONS[name]
    graph, given = _graph(op, op.examples()[at], at)
    wanted = evaluate(graph, given, graph.outputs)
    assert wanted is not None
    for value, array in wanted.items():
        assert graph.types[value] == TensorType(array.dtype.name, array.shape)
    program = lower(graph, parse_target(target), granularity)
    found = run(program, given)
    _close(found, wanted, TOLERANCE)
    _close(strict.run(program, given), found, TOLERANCE)


@pytest.mark.parametrize(("name", "at"), _cases())
@pytest.mark.parametrize("precision", ["mixed", "float16"])
def test_in_halves(name: str, at: int, precision: str) -> None:
    """On inputs that halves hold, the result is that of float32, but for rounding."""
    op = FUNCTIONS[name]
    graph, given = _graph(op, op.examples()[at], at)
    given = {
        value: array.astype(np.float16).astype(np.float32) if array.dtype == np.float32 else array
        for value, array in given.items()
    }
    wanted = evaluate(graph, given, graph.outputs)
    assert wanted is not None
    program = lower(graph, parse_target("tiny"), precision=parse_precision(precision))
    _close(run(program, given), wanted, HALVES)


@by_function
def test_the_body_is_sound(name: str) -> None:
    """ONNX's checker takes it, and it has the operator's name."""
    body = parse_body(FUNCTIONS[name].body)
    assert (body.domain, body.name) == (DOMAIN, name)
    node = Node("node", name, (), (), {}, DOMAIN, 1)
    model = helper.make_model(
        helper.make_graph([], "empty", [], []),
        functions=functions_of([node]),
        opset_imports=[helper.make_opsetid("", 18), helper.make_opsetid(DOMAIN, 1)],
    )
    onnx.checker.check_model(model)


@by_function
def test_there_is_an_example(name: str) -> None:
    assert FUNCTIONS[name].examples()
