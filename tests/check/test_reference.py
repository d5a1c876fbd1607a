"""The two engines that are not ours are asked right: they agree with each other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from ipuc import zoo
from ipuc.check import verify_model
from ipuc.check.reference import Engine, reference_values
from ipuc.errors import OptionError
from ipuc.pipeline import compile_model
from ipuc.target import parse_target


def normalising(opset: int) -> onnx.ModelProto:
    """Convolution and normalisation with statistics that are not those of the data."""
    draw = np.random.default_rng(opset)
    weights = {
        "w": draw.standard_normal((3, 2, 3, 3)),
        "scale": draw.uniform(0.5, 2, 3),
        "bias": draw.standard_normal(3),
        "mean": draw.standard_normal(3),
        "var": draw.uniform(0.5, 2, 3),
    }
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "w"], ["c"]),
            helper.make_node("BatchNormalization", ["c", "scale", "bias", "mean", "var"], ["n"]),
            helper.make_node("Relu", ["n"], ["y"]),
        ],
        "normalising",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 2, 6, 6])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(a.astype(np.float32), name) for name, a in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    model.ir_version = 10
    return model


@pytest.mark.parametrize("opset", [7, 9, 13, 14, 17])
def test_engines_agree_on_every_value_of_old_and_new_models(opset: int) -> None:
    x: NDArray[Any] = np.random.default_rng(0).standard_normal((1, 2, 6, 6)).astype(np.float32)
    model = normalising(opset)
    wanted = ["c", "n", "y", "x", "w", "elsewhere"]
    name, ours = reference_values(model, {"x": x}, wanted, "onnx")
    assert name == f"onnx.reference {onnx.__version__}"
    name, theirs = reference_values(model, {"x": x}, wanted, "onnxruntime")
    assert name.startswith("onnxruntime ")
    assert ours.keys() == theirs.keys() == {"c", "n", "y"}
    for value in "cny":
        # float32 sums of 18 products in another order
        np.testing.assert_allclose(ours[value], theirs[value], rtol=1e-5, atol=1e-5)


def test_asking_for_more_values_changes_no_result() -> None:
    model = zoo.build("digits")
    x = np.random.default_rng(0).standard_normal((1, 1, 8, 8)).astype(np.float32)
    _, few = reference_values(model, {"input": x}, [], "onnxruntime")
    every = [out for node in model.graph.node for out in node.output]
    _, many = reference_values(model, {"input": x}, every, "onnxruntime")
    assert set(few) == {"output"}
    assert set(many) == set(every)
    np.testing.assert_array_equal(few["output"], many["output"])


def test_what_no_engine_takes_is_refused_with_both_reasons() -> None:
    model = normalising(17)
    model.graph.node[2].op_type = "Rellu"
    x = np.zeros((1, 2, 6, 6), np.float32)
    with pytest.raises(OptionError) as caught:
        reference_values(model, {"x": x}, ["y"], "auto")
    assert "onnxruntime: " in caught.value.what
    assert "onnx.reference: " in caught.value.what


def test_auto_falls_back_to_the_reference_evaluator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    x = np.zeros((1, 2, 6, 6), np.float32)
    name, _ = reference_values(normalising(17), {"x": x}, ["y"], "auto")
    assert name.startswith("onnx.reference")
    with pytest.raises(OptionError, match="not installed") as caught:
        reference_values(normalising(17), {"x": x}, ["y"], "onnxruntime")
    assert caught.value.fix == "pip install onnxruntime"


def with_function() -> onnx.ModelProto:
    """y = -(|x| + |x|), where the sum is a function of the model."""
    body = helper.make_function(
        "mine",
        "Twice",
        ["a"],
        ["b"],
        [helper.make_node("Abs", ["a"], ["m"]), helper.make_node("Add", ["m", "m"], ["b"])],
        [helper.make_opsetid("", 17)],
    )
    graph = helper.make_graph(
        [
            helper.make_node("Twice", ["x"], ["t"], domain="mine"),
            helper.make_node("Neg", ["t"], ["y"]),
        ],
        "calls",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [4])],
    )
    model = helper.make_model(
        graph,
        functions=[body],
        opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("mine", 1)],
    )
    model.ir_version = 10
    return model


@pytest.mark.parametrize("engine", ["onnxruntime", "onnx"])
@pytest.mark.parametrize("stored", [False, True])
def test_layers_inside_functions_are_compared_too(
    engine: Engine, stored: bool, tmp_path: Path
) -> None:
    path = tmp_path / "calls.onnx"
    onnx.save(with_function(), path)
    model = path if stored else with_function()
    program = compile_model(model, target=parse_target("gc200,tiles=8"))
    x = np.array([-1.5, 0, 2, 3], np.float32)
    report = verify_model(model, program, {"x": x}, engine)
    assert report.ok
    assert [layer.op for layer in report.layers] == ["Abs", "Add", "Neg"]


def test_it_is_said_why_onnxruntime_was_not_taken() -> None:
    """A model file of a version newer than any onnxruntime knows."""
    model = normalising(17)
    model.ir_version = 99
    x = np.random.default_rng(0).standard_normal((1, 2, 6, 6)).astype(np.float32)
    reasons: list[str] = []
    name, _ = reference_values(model, {"x": x}, ["y"], "auto", reasons.append)
    assert name.startswith("onnx.reference")
    assert len(reasons) == 1
    assert "IR version" in reasons[0]
    with pytest.raises(OptionError, match="IR version") as caught:
        reference_values(model, {"x": x}, ["y"], "onnxruntime")
    assert caught.value.fix == "try --reference onnx"
