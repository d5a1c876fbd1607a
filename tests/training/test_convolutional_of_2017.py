"""Training of small convolutional networks at granularity `worker`: values, vertices, places."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from training_judge import Judge, compiled, same

from ipuc.emulator import strict
from ipuc.pipeline import compile_model, random_inputs, run_program
from ipuc.program.program import Program
from ipuc.target import parse_target

#: Both add the same float32 numbers in another order: some hundred roundings of 6e-8.
TOLERANCE = 2e-5


def model(nodes: list[Any], weights: dict[str, Any], batch: int, field: int) -> onnx.ModelProto:
    """A network from x [batch, 4, field, field] to y [batch, 6]."""
    draw = np.random.default_rng(7)
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 4, field, field])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, 6])],
        [
            numpy_helper.from_array((draw.standard_normal(shape) / 4).astype(np.float32), name)
            for name, shape in weights.items()
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def pooled(batch: int) -> onnx.ModelProto:
    """Windows that overlap, with padding and without; rectifiers before and after them."""
    make = helper.make_node
    nodes = [
        make("Conv", ["x", "k1", "b1"], ["c1"], "conv1", pads=[1, 1, 1, 1]),
        make("Relu", ["c1"], ["r1"], "relu1"),
        make("MaxPool", ["r1"], ["p1"], "pool1", kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4),
        make("Conv", ["p1", "k2", "b2"], ["c2"], "conv2", pads=[1, 1, 1, 1]),
        make("MaxPool", ["c2"], ["p2"], "pool2", kernel_shape=[3, 2], strides=[1, 2]),
        make("Relu", ["p2"], ["r2"], "relu2"),
        make("Flatten", ["r2"], ["f"], "flatten"),
        make("Gemm", ["f", "w", "b3"], ["h"], "fc"),
        make("Relu", ["h"], ["y"], "relu3"),
    ]
    shapes = {"k1": (16, 4, 3, 3), "b1": (16,), "k2": (24, 16, 3, 3), "b2": (24,)}
    return model(nodes, {**shapes, "w": (24 * 3 * 2, 6), "b3": (6,)}, batch, 9)


def residual(batch: int) -> onnx.ModelProto:
    """A block with a plain shortcut, and one that takes every second pixel and adds channels."""
    make = helper.make_node
    pads = [1, 1, 1, 1]
    nodes = [
        make("Conv", ["x", "k1", "b1"], ["c1"], "conv1", pads=pads),
        make("Relu", ["c1"], ["r1"], "relu1"),
        make("Conv", ["r1", "k2", "b2"], ["c2"], "conv2", pads=pads),
        make("Add", ["c2", "r1"], ["a1"], "add1"),
        make("Relu", ["a1"], ["r2"], "relu2"),
        make("Conv", ["r2", "k3", "b3"], ["c3"], "conv3", strides=[2, 2], pads=pads),
        make("Slice", ["r2", "begin", "end", "axes", "step"], ["s"], "every second"),
        make("Pad", ["s", "more"], ["wide"], "more channels"),
        make("Add", ["c3", "wide"], ["a2"], "add2"),
        make("Relu", ["a2"], ["r3"], "relu3"),
        make("MaxPool", ["r3"], ["p"], "pool", kernel_shape=[4, 4]),
        make("Flatten", ["p"], ["f"], "flatten"),
        make("Gemm", ["f", "w", "b4"], ["y"], "fc"),
    ]
    shapes = {"k1": (16, 4, 3, 3), "b1": (16,), "k2": (16, 16, 3, 3), "b2": (16,)}
    shapes |= {"k3": (32, 16, 3, 3), "b3": (32,), "w": (32, 6), "b4": (6,)}
    made = model(nodes, shapes, batch, 8)
    whole = {"begin": [0, 0], "end": [8, 8], "axes": [2, 3], "step": [2, 2]}
    whole["more"] = [0, 8, 0, 0, 0, 8, 0, 0]
    made.graph.initializer.extend(
        numpy_helper.from_array(np.array(v, np.int64), name) for name, v in whole.items()
    )
    return made


def vertices(program: Program) -> Counter[str]:
    """Vertices by type."""
    found: Counter[str] = Counter()
    for family in program.families():
        found[family.codelet.name] += family.count
    return found


@pytest.mark.parametrize("outline", [False, True])
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("make", [pooled, residual])
def test_a_step_is_what_onnxruntime_makes_of_it(make: Any, batch: int, *, outline: bool) -> None:
    program = compiled(make(batch), "none", granularity="worker", outline=outline)
    inputs = random_inputs(program, 1)
    made = run_program(program, inputs)
    same(made, Judge.of(program).step(inputs), TOLERANCE)
    same(strict.run(program, inputs), made, TOLERANCE)  # sums in another order


@pytest.mark.parametrize("make", [pooled, residual])
def test_gradients_are_those_of_onnxruntime_where_all_elements_of_windows_are_equal(
    make: Any,
) -> None:
    """Without weights every window has but one value: its first element gets the gradient."""
    flat = make(2)
    for weight in flat.graph.initializer:
        if weight.name.startswith(("k", "b")):
            array = numpy_helper.to_array(weight)
            same_everywhere = np.zeros_like(array) if weight.name[0] == "k" else np.ones_like(array)
            if array.dtype == np.float32:
                weight.CopyFrom(numpy_helper.from_array(same_everywhere, weight.name))
    program = compiled(flat, "none", granularity="worker")
    inputs = random_inputs(program, 1)
    same(run_program(program, inputs), Judge.of(program).step(inputs), TOLERANCE)


@pytest.mark.parametrize("make", [pooled, residual])
def test_in_halves_a_step_is_near(make: Any) -> None:
    """Activations have 11 bits, and a layer adds a few hundred of their products.

    A flipped rectifier or window moves single gradients, so only the loss is held to onnxruntime;
    the gradients of the two emulators differ by rounded sums alone.
    """
    program = compiled(make(1), "none", granularity="worker", precision="mixed", outline=True)
    inputs = random_inputs(program, 1)
    made = run_program(program, inputs)
    wanted = Judge.of(program).step(inputs)
    assert abs(made["loss"] - wanted["loss"]) < 2e-2
    same(strict.run(program, inputs), made, 1e-2)


def test_pools_and_rectifiers_have_the_vertices_of_2017() -> None:
    found = vertices(compiled(pooled(1), "sgd", granularity="worker"))
    # 9 x 9 pixels become 5 x 5, of 16 channels together; then 5 x 5 become 3 x 2
    groups = 16 // 16, 24 // 8
    assert found["MaxPoolingPlaces"] == 25 * groups[0] + 6 * groups[1]
    assert found["MaxPoolingBwd"] + found["Zero"] >= 81 * groups[0] + 25 * groups[1]
    assert found["NonLinearityFwd"] > 0
    assert found["NonLinearityBwd"] > 0
    assert not {"MaxPoolingGrad", "Pooling", "Select"} & set(found)


def test_inference_keeps_no_places() -> None:
    program = compile_model(pooled(1), target=parse_target("tiny"), granularity="worker")
    found = vertices(program)
    assert found["MaxPooling"] == 25 + 6 * 3
    assert found["MaxPoolingPlaces"] == 0
