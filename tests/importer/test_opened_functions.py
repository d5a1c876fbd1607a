"""Operators without a lowering that ONNX defines by others: what opening them must keep."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper
from onnx.reference import ReferenceEvaluator

from ipuc.graph.export import to_model
from ipuc.importer.check import Supported
from ipuc.importer.load import load


def _model(nodes: list[onnx.NodeProto], shape: list[int]) -> onnx.ModelProto:
    info = [helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, shape) for n in ("x", "y")]
    graph = helper.make_graph(nodes, "opened", info[:1], info[1:])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])


def _without(*ops: str) -> Supported:
    return lambda _domain, op, _opset: f"no lowering of {op}" if op in ops else None


def test_default_attributes_reach_the_body() -> None:
    """MeanVarianceNormalization's axes are 0, 2 and 3 unless given; the oracle is NumPy."""
    model = _model([helper.make_node("MeanVarianceNormalization", ["x"], ["y"])], [2, 3, 4, 5])
    graph = load(model, supported=_without("MeanVarianceNormalization"))
    assert "MeanVarianceNormalization" not in {node.op for node in graph.nodes}
    x = np.random.default_rng(0).normal(1, 2, (2, 3, 4, 5)).astype(np.float32)
    (y,) = ReferenceEvaluator(to_model(graph)).run(None, {"x": x})
    axes = (0, 2, 3)
    want = (x - x.mean(axes, keepdims=True)) / x.std(axes, keepdims=True)
    np.testing.assert_allclose(np.asarray(y), want, rtol=1e-4, atol=1e-5)


def test_a_range_of_constants_is_folded_not_opened_into_a_loop() -> None:
    nodes = [
        helper.make_node("Constant", [], ["zero"], value_float=0.0),
        helper.make_node("Constant", [], ["five"], value_float=5.0),
        helper.make_node("Constant", [], ["one"], value_float=1.0),
        helper.make_node("Range", ["zero", "five", "one"], ["steps"]),
        helper.make_node("Add", ["x", "steps"], ["y"]),
    ]
    graph = load(_model(nodes, [5]), supported=_without("Range"))
    assert [node.op for node in graph.nodes] == ["Add"]
