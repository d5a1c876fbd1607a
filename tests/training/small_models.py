"""Small models with the shapes that training has to get right."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper


def mlp(batch: int = 3, *, softmax: bool = True) -> onnx.ModelProto:
    """Two fully connected layers; the second weight is read through a transposition."""
    draw = np.random.default_rng(0)
    weights: dict[str, NDArray[Any]] = {
        "w1": draw.standard_normal((12, 9)).astype(np.float32) / 3,
        "b1": draw.standard_normal(9).astype(np.float32),
        "w2": draw.standard_normal((5, 9)).astype(np.float32) / 3,
        "b2": draw.standard_normal(5).astype(np.float32),
    }
    nodes = [
        helper.make_node("MatMul", ["x", "w1"], ["h"], "first"),
        helper.make_node("Add", ["h", "b1"], ["h1"], "bias"),
        helper.make_node("Relu", ["h1"], ["a"], "relu"),
        helper.make_node("Gemm", ["a", "w2", "b2"], ["scores"], "second", transB=1),
    ]
    last = "scores"
    if softmax:
        nodes.append(helper.make_node("Softmax", ["scores"], ["y"], "softmax", axis=1))
        last = "y"
    return _model(nodes, weights, [batch, 12], last, [batch, 5])


def shared(batch: int = 2) -> onnx.ModelProto:
    """One weight read by two layers, and a value that two layers read."""
    draw = np.random.default_rng(1)
    weights: dict[str, NDArray[Any]] = {"w": draw.standard_normal((6, 6)).astype(np.float32) / 3}
    nodes = [
        helper.make_node("Gemm", ["x", "w"], ["h"], "first"),
        helper.make_node("Relu", ["h"], ["a"], "relu"),
        helper.make_node("Gemm", ["a", "w"], ["g"], "again", transB=1),
        helper.make_node("Add", ["g", "h"], ["y"], "skip"),
    ]
    return _model(nodes, weights, [batch, 6], "y", [batch, 6])


def normed(batch: int = 4) -> onnx.ModelProto:
    """A convolution, batch normalization, pooling over the field, classes."""
    draw = np.random.default_rng(2)
    weights: dict[str, NDArray[Any]] = {
        "w": draw.standard_normal((4, 2, 3, 3)).astype(np.float32) / 4,
        "scale": draw.uniform(0.5, 2, 4).astype(np.float32),
        "shift": draw.standard_normal(4).astype(np.float32),
        "mean": np.zeros(4, np.float32),
        "var": np.ones(4, np.float32),
        "fc": draw.standard_normal((4, 3)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], "conv", pads=[1, 1, 1, 1]),
        helper.make_node("BatchNormalization", ["c", "scale", "shift", "mean", "var"], ["n"], "bn"),
        helper.make_node("Relu", ["n"], ["a"], "relu"),
        helper.make_node("GlobalAveragePool", ["a"], ["p"], "pool"),
        helper.make_node("Flatten", ["p"], ["f"], "flatten"),
        helper.make_node("Gemm", ["f", "fc"], ["y"], "fc"),
    ]
    return _model(nodes, weights, [batch, 2, 5, 6], "y", [batch, 3])


def _model(
    nodes: list[onnx.NodeProto],
    weights: Mapping[str, NDArray[Any]],
    into: list[int],
    last: str,
    out: list[int],
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, into)],
        [helper.make_tensor_value_info(last, TensorProto.FLOAT, out)],
        [
            numpy_helper.from_array(np.asarray(array, np.float32), name)
            for name, array in weights.items()
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
