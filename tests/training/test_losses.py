"""Losses of models with several heads, and weights that stay: NumPy's formulas as judge."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from small_models import mlp, shared
from training_judge import Judge, same

from ipuc.pipeline import compile_model, random_inputs, run_program
from ipuc.program.program import Program
from ipuc.target import parse_target
from ipuc.training.options import Training, parse_optimizer

Array = NDArray[Any]
#: Sums of some dozen float32 numbers, in another order.
TOLERANCE = 1e-5


def compiled(model: onnx.ModelProto, loss: str = "cross-entropy", **options: Any) -> Program:
    training = Training(loss, parse_optimizer("sgd:lr=0.5"), **options)
    return compile_model(model, target=parse_target("tiny"), training=training)


def head(last: str, shape: tuple[int, ...], **attributes: Any) -> onnx.ModelProto:
    """x + bias over all axes but the first, then an operator; "" for none."""
    bias = np.random.default_rng(4).standard_normal(shape[1:]).astype(np.float32)
    nodes = [helper.make_node("Add", ["h", "bias"], ["s"], "bias")]
    nodes.insert(0, helper.make_node("Relu", ["x"], ["h"], "relu"))
    if last:
        nodes.append(helper.make_node(last, ["s"], ["y"], "last", **attributes))
    out = "y" if last else "s"
    graph = helper.make_graph(
        nodes,
        "head",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [onnx.ValueInfoProto(name=out)],
        [numpy_helper.from_array(bias, "bias")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def scores(program: Program, inputs: dict[str, Array]) -> Array:
    """What `head` computes before its last operator, in float64."""
    known = program.constants.items()
    (bias,) = (array for id_, array in known if program.variables[id_].name == "bias")
    x = inputs["x"].astype(np.float64)
    made: Array = np.maximum(x, 0) + bias.reshape(x.shape[1:])
    return made


def cross_entropy(s: Array, labels: Array) -> tuple[float, Array]:
    """The mean over all labels, and its gradient."""
    shares = np.exp(s - s.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    hot = np.moveaxis(np.eye(s.shape[1])[labels], -1, 1)
    return float(-(hot * np.log(shares)).sum() / labels.size), (shares - hot) / labels.size


@pytest.mark.parametrize("shape", [(4, 5), (2, 3, 4), (2, 3, 2, 5)])
@pytest.mark.parametrize("last", ["", "Softmax", "LogSoftmax"])
def test_cross_entropy_of_scores_of_shares_and_of_their_logarithms(
    last: str, shape: tuple[int, ...]
) -> None:
    program = compiled(head(last, shape, **({"axis": 1} if last else {})))
    inputs = random_inputs(program, 1)
    assert inputs["labels"].shape == (shape[0], *shape[2:])
    s = scores(program, inputs)
    loss, ds = cross_entropy(s, inputs["labels"])
    found = run_program(program, inputs)
    assert float(found["loss"]) == pytest.approx(loss, rel=TOLERANCE)
    wanted = s[0] - np.maximum(inputs["x"], 0)[0] - 0.5 * ds.sum(axis=0)
    np.testing.assert_allclose(found["bias"], wanted, rtol=TOLERANCE, atol=TOLERANCE)


@pytest.mark.parametrize("shape", [(1, 6), (4, 5), (2, 3, 4)])
def test_mse_takes_labels_of_the_shape_of_the_output(shape: tuple[int, ...]) -> None:
    program = compiled(head("", shape), "mse")
    inputs = random_inputs(program, 1)
    s = scores(program, inputs)
    off = s - inputs["labels"]
    found = run_program(program, inputs)
    assert float(found["loss"]) == pytest.approx(float((off**2).mean()), rel=TOLERANCE)
    wanted = s[0] - np.maximum(inputs["x"], 0)[0] - 0.5 * (2 * off / off.size).sum(axis=0)
    np.testing.assert_allclose(found["bias"], wanted, rtol=TOLERANCE, atol=TOLERANCE)


@pytest.mark.parametrize("op", ["ReduceSumSquare", "ReduceMean"])
def test_a_loss_of_the_model_itself(op: str) -> None:
    """An output that is the loss; the step is onnxruntime's, and no labels are asked for."""
    model = mlp(softmax=False)
    model.graph.node.append(helper.make_node(op, ["scores"], ["cost"], "cost", keepdims=0))
    model.graph.output.append(helper.make_tensor_value_info("cost", TensorProto.FLOAT, []))
    program = compiled(model, "cost")
    assert set(program.inputs) == {"x"}
    assert program.metadata["training"]["left_out"] == ["scores"]
    inputs = random_inputs(program, 1)
    same(run_program(program, inputs), Judge.of(program).step(inputs), TOLERANCE)


@pytest.mark.parametrize(
    ("options", "left"),
    [
        ({"freeze": ("b*",)}, {"w1", "w2"}),
        ({"train_only": ("*1",)}, {"w1", "b1"}),
        ({"train_only": ("w*",), "freeze": ("w1",)}, {"w2"}),
    ],
)
def test_frozen_weights_stay_and_the_others_move_as_they_would(
    options: dict[str, Any], left: set[str]
) -> None:
    whole, part = compiled(mlp()), compiled(mlp(), **options)
    assert set(part.state) == left
    assert set(part.metadata["training"]["frozen"]) == {"w1", "b1", "w2", "b2"} - left
    inputs = random_inputs(whole, 1)
    all_of_it, found = run_program(whole, inputs), run_program(part, inputs)
    for name in left:
        np.testing.assert_allclose(found[name], all_of_it[name], rtol=0, atol=TOLERANCE)


def test_a_shared_weight_is_one_weight() -> None:
    program = compiled(shared(), "mse")
    assert program.metadata["training"]["trained"] == ["w"]
