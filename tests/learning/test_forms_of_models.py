"""Models as exporters write them: trained, evaluated and written, with onnxruntime as the judge."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from ipuc.cli.group import main
from ipuc.npz import write_arrays

Array = np.ndarray[Any, Any]
#: Nodes, shapes of the inputs, weights.
Parts = tuple[list[onnx.NodeProto], dict[str, list[Any]], list[onnx.TensorProto]]
SAMPLES, KEPT_BACK, BATCH = 60, 12, 8


def weight(name: str, *shape: int) -> onnx.TensorProto:
    draw = np.random.default_rng(len(name) + sum(shape))
    return numpy_helper.from_array((draw.normal(size=shape) / 2).astype(np.float32), name)


def integers(name: str, *values: int) -> onnx.TensorProto:
    return numpy_helper.from_array(np.array(values, np.int64), name)


def two_inputs() -> Parts:
    nodes = [
        helper.make_node("MatMul", ["a", "w1"], ["x"], "first"),
        helper.make_node("MatMul", ["b", "w2"], ["y"], "second"),
        helper.make_node("Add", ["x", "y"], ["s"], "sum"),
        helper.make_node("Relu", ["s"], ["r"], "relu"),
        helper.make_node("MatMul", ["r", "w3"], ["out"], "last"),
    ]
    inputs: dict[str, list[Any]] = {"a": ["n", 4], "b": ["n", 6]}
    return nodes, inputs, [weight("w1", 4, 8), weight("w2", 6, 8), weight("w3", 8, 3)]


def constants_and_shared() -> Parts:
    """A small constant that two layers share, and a large one."""
    nodes = [
        helper.make_node("Constant", [], ["w1"], "small", value=weight("", 4, 4)),
        helper.make_node("Constant", [], ["w2"], "large", value=weight("", 4, 300)),
        helper.make_node("MatMul", ["a", "w1"], ["x"], "first"),
        helper.make_node("Relu", ["x"], ["r"], "relu"),
        helper.make_node("MatMul", ["r", "w1"], ["y"], "again"),
        helper.make_node("MatMul", ["y", "w2"], ["z"], "wide"),
        helper.make_node("MatMul", ["z", "w3"], ["out"], "last"),
    ]
    return nodes, {"a": ["n", 4]}, [weight("w3", 300, 3)]


def fixed_batch(
    constant: str,
) -> Parts:
    """Exported for one sample: the batch of 1 stands in two reshapes."""
    nodes = [
        helper.make_node("Reshape", ["a", "image"], ["i"], "image"),
        helper.make_node("Conv", ["i", "w1"], ["c"], "conv"),
        helper.make_node("Relu", ["c"], ["r"], "relu"),
        helper.make_node("Reshape", ["r", "rows"], ["f"], "rows"),
        helper.make_node("MatMul", ["f", "w2"], ["out"], "last"),
    ]
    weights = [weight("w1", 5, 1, 1, 1), weight("w2", 20, 3), integers("image", 1, 1, 2, 2)]
    if constant == "node":
        nodes.insert(0, helper.make_node("Constant", [], ["rows"], value=integers("", 1, -1)))
    elif constant == "list":
        nodes.insert(0, helper.make_node("Constant", [], ["rows"], value_ints=[1, -1]))
    else:
        weights.append(integers("rows", 1, -1))
    return nodes, {"a": [1, 4]}, weights


MODELS: dict[str, Callable[[], Parts]] = {
    "two inputs": two_inputs,
    "constants": constants_and_shared,
    "fixed, initializer": lambda: fixed_batch("initializer"),
    "fixed, node": lambda: fixed_batch("node"),
    "fixed, list": lambda: fixed_batch("list"),
}


def samples() -> dict[str, Array]:
    draw = np.random.default_rng(1)
    labels = draw.integers(0, 3, SAMPLES)
    near = labels[:, None] + draw.normal(size=(SAMPLES, 4))
    return {"a": near, "b": draw.normal(size=(SAMPLES, 6)), "labels": labels.astype(np.uint8)}


def train(folder: Path, *words: str) -> int:
    return int(
        main(
            ["train", str(folder / "m.onnx"), "--data", str(folder / "d.npz"), "--target", "tiny",
             "--batch", str(BATCH), "--epochs", "2", "-o", str(folder / "t.onnx"), "--json",
             *words],
            standalone_mode=False,
        )
    )  # fmt: skip


def write(folder: Path, form: str, **options: Any) -> onnx.ModelProto:
    nodes, inputs, weights = MODELS[form]()
    float_ = TensorProto.FLOAT
    rows = next(iter(inputs.values()))[0]
    graph = helper.make_graph(
        nodes,
        "model",
        [helper.make_tensor_value_info(name, float_, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info("out", float_, [rows, 3])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, folder / "m.onnx", **options)
    write_arrays(folder / "d.npz", samples())
    return model


def judged(folder: Path, inputs: list[str]) -> tuple[float, float]:
    """Loss and accuracy of the trained file over the samples kept back, one by one."""
    session = onnxruntime.InferenceSession(folder / "t.onnx")
    arrays = samples()
    given = [
        {name: arrays[name][at : at + 1].astype(np.float32) for name in inputs}
        for at in range(SAMPLES - KEPT_BACK, SAMPLES)
    ]
    scores = np.concatenate([session.run(["out"], one)[0] for one in given]).astype(np.float64)
    labels = arrays["labels"][-KEPT_BACK:].astype(int)
    logs = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
    loss = -logs[np.arange(KEPT_BACK), labels].mean()
    return float(loss), float((scores.argmax(axis=1) == labels).mean())


@pytest.mark.parametrize("form", MODELS)
def test_forms(form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What evaluation reports is what onnxruntime finds in the written file.

    float32 in another order of summation, over at most 300 terms: 1e-5.
    """
    model = write(tmp_path, form)
    assert train(tmp_path) == 0
    last = json.loads(capsys.readouterr().out)["epochs"][-1]
    loss, accuracy = judged(tmp_path, [one.name for one in model.graph.input])
    assert last["loss"] == pytest.approx(loss, rel=1e-5)
    assert last["accuracy"] == pytest.approx(accuracy)
    trained = onnx.load(tmp_path / "t.onnx")
    onnx.checker.check_model(trained, full_check=True)
    assert [one.name for one in trained.graph.input] == [one.name for one in model.graph.input]


def test_external_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The trained model is one file of its own, which needs the old data no longer."""
    write(tmp_path, "constants", save_as_external_data=True, location="w", size_threshold=100)
    assert train(tmp_path) == 0
    last = json.loads(capsys.readouterr().out)["epochs"][-1]
    (tmp_path / "w").unlink()
    loss, _ = judged(tmp_path, ["a"])
    assert last["loss"] == pytest.approx(loss, rel=1e-5)


def test_a_loss_of_the_model_itself(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No labels are needed; table and evaluation work, and the loss goes down."""
    nodes = [
        helper.make_node("MatMul", ["a", "w"], ["y"], "first"),
        helper.make_node("Relu", ["y"], ["r"], "relu"),
        helper.make_node("ReduceMean", ["r"], ["cost"], "mean", keepdims=0),
    ]
    float_ = TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "own",
        [helper.make_tensor_value_info("a", float_, ["n", 4])],
        [helper.make_tensor_value_info("cost", float_, [])],
        [weight("w", 4, 3)],
    )
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), tmp_path / "m.onnx")
    arrays = samples()
    del arrays["labels"]
    write_arrays(tmp_path / "d.npz", arrays)
    assert train(tmp_path, "--loss", "cost", "--csv", str(tmp_path / "t.csv")) == 0
    first, last = json.loads(capsys.readouterr().out)["epochs"]
    assert last["loss"] < first["loss"]
    assert len((tmp_path / "t.csv").read_text("utf-8").splitlines()) == 1 + 2 * (48 // BATCH)
