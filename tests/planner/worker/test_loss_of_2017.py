"""The loss as one vertex: values by onnxruntime, and what its vertex touches."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
import pytest
import updates
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, helper

from ipuc.emulator import run, strict
from ipuc.planner.worker import dense
from ipuc.planner.worker.loss import cross_entropy
from ipuc.program.enumerate import VertexGraph
from ipuc.program.program import Program
from ipuc.program.tensor import of_variable

Array = NDArray[Any]

#: Exponentials and logarithms of float32, some roundings of 6e-8 each.
CLOSE = 1e-6


def program(batch: int, classes: int, factor: float, *, turned: bool) -> Program:
    """Scores and labels in; loss, gradient and right answers out."""
    ctx = updates.context("tiny")
    builder = ctx.builder
    given = builder.input("x", "float32", (classes, batch) if turned else (batch, classes))
    scores = given.transpose((1, 0)) if turned else given
    labels = builder.input("labels", "int64", (batch,), "int32")
    loss, deltas = cross_entropy(ctx, scores, labels, factor, ("loss", "deltas"), "float32")
    builder.output("loss", loss)
    builder.output("deltas", deltas)
    (correct,) = (one for one in builder.variables if one.name == "loss correct")
    builder.output("correct", of_variable(correct))
    builder.map_rest()
    return builder.build()


def judged(scores: Array, labels: Array) -> list[Array]:
    """Loss, and logarithms of the probabilities, by onnxruntime."""
    node = helper.make_node("SoftmaxCrossEntropyLoss", ["x", "labels"], ["loss", "logs"])
    graph = helper.make_graph(
        [node],
        "loss",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, scores.shape),
            helper.make_tensor_value_info("labels", TensorProto.INT64, labels.shape),
        ],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("loss", "logs")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    found: list[Array] = session.run(None, {"x": scores, "labels": labels})
    return found


@given(
    batch=st.integers(1, 4),
    classes=st.integers(1, 9),
    spread=st.sampled_from([1.0, 30.0, 1e4]),
    turned=st.booleans(),
    seed=st.integers(0, 99),
)
@settings(max_examples=40, deadline=None)
def test_values(batch: int, classes: int, spread: float, *, turned: bool, seed: int) -> None:
    draw = np.random.default_rng(seed)
    scores = (spread * draw.standard_normal((batch, classes))).astype(np.float32)
    labels = draw.integers(0, classes, batch)
    made = program(batch, classes, 3.0, turned=turned)
    inputs: dict[str, Array] = {
        "x": np.ascontiguousarray(scores.T if turned else scores),
        "labels": labels,
    }
    found = run.run(made, inputs)
    loss, logs = judged(scores, labels)
    wanted = 3.0 * (np.exp(logs) - np.eye(classes)[labels])
    np.testing.assert_allclose(found["loss"], loss, rtol=CLOSE, atol=CLOSE)
    np.testing.assert_allclose(found["deltas"], wanted, rtol=0, atol=3 * CLOSE)
    assert found["correct"] == (scores.argmax(axis=1) == labels).sum()
    for name, array in strict.run(made, inputs).items():
        np.testing.assert_array_equal(array, found[name])


@pytest.mark.parametrize("batch", [1, 3])
def test_it_meets_every_output_of_a_layer_as_a_region(batch: int) -> None:
    """Scores, gradients, labels, loss and right answers; images of an output lie apart."""
    ctx = updates.context("gc2")
    builder, classes = ctx.builder, 10
    x = builder.input("x", "float32", (batch, 6))
    weights = builder.constant("w", np.zeros((classes, 6), np.float32))
    scores = dense.forward(ctx, x, weights, None, "scores", training=True)
    labels = builder.input("labels", "int64", (batch,), "int32")
    _, deltas = cross_entropy(ctx, scores, labels, 1.0, ("loss", "deltas"), "float32")
    dense.data_gradient(ctx, deltas, weights, "dx")
    dense.weight_update(ctx, x, deltas, weights, 0.5, "new w")
    builder.map_rest()
    found = [block for block in VertexGraph(builder.build()).blocks() if len(block.tile)]
    (loss,) = (block for block in found if block.codelet.name == "CalcLoss")
    assert loss.tile.tolist() == [0]
    assert len(loss.regions) == 2 * batch * classes + 3
