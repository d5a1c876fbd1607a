"""Training of fully connected layers at granularity `worker`: vertices, places, values."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from small_models import mlp
from training_judge import Judge, compiled, same

from ipuc.emulator import strict
from ipuc.pipeline import random_inputs, run_program
from ipuc.planner.precision import parse_precision
from ipuc.program.program import Program
from ipuc.program.steps import Copy

#: Both add the same float32 numbers in another order: some hundred roundings of 6e-8.
TOLERANCE = 2e-5

#: Adam divides by roots of squared gradients, which magnifies the roundings of small ones.
OPTIMIZERS = {
    "sgd:lr=0.5": TOLERANCE,
    "none": TOLERANCE,
    "momentum:lr=0.1": TOLERANCE,
    "adam:lr=0.01": 1e-4,
}


def grouped(batch: int) -> onnx.ModelProto:
    """A convolution, whose channels lie in groups, and two layers that read it as a row."""
    draw = np.random.default_rng(5)
    shapes = {"k": (16, 3, 3, 3), "kb": (16,), "w1": (16 * 6, 10), "b1": (10,), "w2": (4, 10)}
    nodes = [
        helper.make_node("Conv", ["x", "k", "kb"], ["c"], "conv"),
        helper.make_node("Flatten", ["c"], ["f"], "flatten"),
        helper.make_node("Gemm", ["f", "w1", "b1"], ["h"], "fc1"),
        helper.make_node("Relu", ["h"], ["a"], "relu"),
        helper.make_node("Gemm", ["a", "w2"], ["y"], "fc2", transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "grouped",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 3, 4, 5])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, 4])],
        [
            numpy_helper.from_array((draw.standard_normal(shape) / 4).astype(np.float32), name)
            for name, shape in shapes.items()
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def vertices(program: Program, layer: str) -> dict[str, Counter[str]]:
    """Vertices by type of each pass of a layer."""
    passes = {one.name: one.layer_pass for one in program.layers if one.layer == layer}
    found: dict[str, Counter[str]] = {}
    for family in program.families():
        at = family.origins[0].layer
        if at in passes:
            found.setdefault(passes[at], Counter())[family.codelet.name] += family.count
    return found


def copied(program: Program) -> set[str]:
    """Names of the variables that are copied."""
    moves = [move for s in program.bodies() if isinstance(s, Copy) for move in s.moves]
    sources = [move.source for move in moves if move.source is not None]
    return {program.variables[source.variable].name for source in sources}


@pytest.mark.parametrize("outline", [False, True])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("make", [mlp, grouped])
def test_a_step_is_what_onnxruntime_makes_of_it(
    make: Any, batch: int, optimizer: str, *, outline: bool
) -> None:
    program = compiled(make(batch), optimizer, granularity="worker", outline=outline)
    inputs = random_inputs(program, 1)
    made = run_program(program, inputs)
    same(made, Judge.of(program).step(inputs), OPTIMIZERS[optimizer])
    same(strict.run(program, inputs), made, OPTIMIZERS[optimizer])  # sums in another order


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("batch", [1, 3])
def test_halves_are_rounded_where_they_are_stored(batch: int, optimizer: str) -> None:
    """Mixed precision beside onnxruntime in float32: a handful of roundings of 2^-11."""
    precision = parse_precision("mixed")
    program = compiled(grouped(batch), optimizer, granularity="worker", precision=precision)
    inputs = random_inputs(program, 1)
    made = run_program(program, inputs)
    same(made, Judge.of(program).step(inputs), 2**-8)
    same(strict.run(program, inputs), made, 2**-10)  # sums in another order, rounded once


@pytest.mark.parametrize("batch", [1, 3])
def test_every_pass_has_the_vertices_of_2017(batch: int) -> None:
    """Two layers on one tile: a vertex for each row, input, or word of 2 columns."""
    program = compiled(mlp(batch), "sgd", granularity="worker", target="tiny,tiles=1")
    assert vertices(program, "second") == {
        "forward": {"FullyConnectedPartial": 5, "FullyConnectedReduce": 5},
        "backward": {"FullyConnectedBwd": 5, "FullyConnectedBwdReduce": 9},
        # six workers share the bias
        "weight update": {"FullyConnectedWeightUpdate": 5, "FullyConnectedBiasUpdate": 5},
    }
    assert vertices(program, "first")["weight update"] == {"FullyConnectedWeightUpdate": 9}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_weights_that_meet_groups_of_channels_are_never_copied(optimizer: str) -> None:
    program = compiled(grouped(1), optimizer, granularity="worker", outline=True)
    assert not {name for name in copied(program) if name.startswith("w")}
    (held,) = (one for one in program.variables if one.name == "w1")
    weights = numpy_helper.to_array(grouped(1).graph.initializer[2])
    first = weights.T.reshape(10, 16, 6)[0, :, 0]  # all channels of the first pixel
    np.testing.assert_array_equal(program.constants[held.id][:16], first)


def test_plain_gradients_lie_as_their_weights_do() -> None:
    program = compiled(grouped(3), "none", granularity="worker")
    assert vertices(program, "fc1")["weight update"]["FullyConnectedWeightGradient"] > 0
    assert not {name for name in copied(program) if "grad/w" in name}
