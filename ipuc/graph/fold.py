"""Values of nodes whose inputs are all known, by ONNX's reference evaluator."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper
from onnx.reference import ReferenceEvaluator

from ipuc.errors import ShapeError, UnsupportedOp
from ipuc.graph.ir import Node
from ipuc.graph.proto import node_to_proto

#: Operators that give another result each time: never folded.
RANDOM = frozenset(
    {
        "Bernoulli",
        "Multinomial",
        "RandomNormal",
        "RandomNormalLike",
        "RandomUniform",
        "RandomUniformLike",
    }
)

_FLATTENING = frozenset({"Hardmax", "LogSoftmax", "Softmax"})

#: What an evaluator written in NumPy raises when it meets values it was not made for.
_FAILURES = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    MemoryError,
    RuntimeError,
    TypeError,
    ValueError,
)


def evaluate(node: Node, arrays: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
    """Compute the named outputs of a node, in order.

    Args:
        node: a node of a domain that onnx's reference evaluator implements.
        arrays: its inputs by name.

    Raises:
        UnsupportedOp: the reference evaluator does not implement the operator.
        ShapeError: the values do not fit the operator.
    """
    if not node.domain and node.op in _FLATTENING and node.opset < 13:
        return _evaluate_flattened(node, arrays)
    if not node.domain and node.op == "Resize" and node.opset < 11:
        # The evaluator knows only the later form, whose inputs and coordinates differ.
        raise UnsupportedOp("Resize of operator set 10 is not folded", where=node.where())
    inputs = [name for name in dict.fromkeys(node.inputs) if name]
    outputs = [name for name in node.outputs if name]
    # The evaluator takes the newest operator set for a bare node, so the node stands in a graph.
    graph = helper.make_graph(
        [node_to_proto(node)],
        "node",
        [onnx.ValueInfoProto(name=name) for name in inputs],
        [onnx.ValueInfoProto(name=name) for name in outputs],
    )
    try:
        evaluator = ReferenceEvaluator(graph, opsets={node.domain: node.opset})
    except _FAILURES as error:
        raise UnsupportedOp(
            f"onnx's reference evaluator does not compute it: {_short(error)}", where=node.where()
        ) from error
    try:
        with np.errstate(all="ignore"):
            results = evaluator.run(None, {name: arrays[name] for name in inputs})
    except _FAILURES as error:
        raise ShapeError(
            f"its constant inputs cannot be computed with: {_short(error)}",
            where=node.where(),
            fix="check the constants that the model's exporter wrote",
        ) from error
    return [np.asarray(result) for result in results]


def _evaluate_flattened(node: Node, arrays: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
    """Compute a Softmax of before operator set 13, which ran over all axes from `axis` on.

    The evaluator knows only the later meaning, along one axis.
    Source: ONNX Softmax-11, LogSoftmax-11, Hardmax-11.
    """
    x = arrays[node.inputs[0]]
    axis = node.attributes.get("axis", 1)
    rows = math.prod(x.shape[: axis if axis >= 0 else axis + x.ndim])
    flat = x.reshape(rows, x.size // rows if rows else 0)
    later = replace(node, attributes={"axis": -1}, opset=13)
    [result] = evaluate(later, {node.inputs[0]: flat})
    return [result.reshape(x.shape)]


def _short(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= 200 else text[:200] + "..."
