"""Bring every node of a graph to one operator set, so that it can be written as one model."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper, version_converter

from ipuc.errors import UnsupportedOp
from ipuc.graph.fold import evaluate
from ipuc.graph.infer import clean, infer
from ipuc.graph.ir import Graph, Node, constant_type
from ipuc.graph.proto import attributes_from_proto, node_to_proto, schema_of, type_to_proto

#: Inputs up to this many elements are shown to the converter: axes, pads, shapes.
_SHOWN = 4096


def raised(graph: Graph, version: int) -> Graph:
    """Write the nodes of a graph in a standard operator set of at least `version`.

    Args:
        graph: stays as it is.
        version: the least that is wanted; a graph of a later set stays in that.

    Returns:
        A graph in which every standard node has the same operator set.

    Raises:
        UnsupportedOp: onnx cannot convert a node.
    """
    version = max(version, graph.opset)
    result = replace(
        graph, nodes=[], opset=version, types=dict(graph.types), constants=dict(graph.constants)
    )
    for node in graph.nodes:
        if node.domain or node.opset == version:
            result.nodes.append(node)
        elif _since(node, node.opset) == _since(node, version):
            result.nodes.append(replace(node, opset=version))
        else:
            result.nodes += _converted(result, node, version)
    return result


def _since(node: Node, version: int) -> int:
    schema = schema_of(node.op, version, node.domain)
    return -1 if schema is None else schema.since_version


def _converted(graph: Graph, node: Node, version: int) -> list[Node]:
    """A node in another operator set, by onnx's version converter, on a model of it alone."""
    names = [name for name in dict.fromkeys(node.inputs) if name]
    shown = {n: graph.constants[n] for n in names if n in graph.constants}
    shown = {name: array for name, array in shown.items() if array.size <= _SHOWN}
    proto = helper.make_graph(
        [node_to_proto(node)],
        "node",
        [helper.make_value_info(n, type_to_proto(graph.types[n])) for n in names],
        [helper.make_value_info(n, type_to_proto(graph.types[n])) for n in node.outputs if n],
        [numpy_helper.from_array(np.asarray(array, order="C"), n) for n, array in shown.items()],
    )
    model = helper.make_model(proto, opset_imports=[helper.make_opsetid("", node.opset)])
    try:
        made = version_converter.convert_version(model, version).graph
    except RuntimeError as error:
        raise UnsupportedOp(
            f"onnx cannot write it in operator set {version}: {clean(str(error))}",
            where=node.where(),
            fix=f"convert the model to operator set {version} with its exporter",
        ) from error
    for tensor in made.initializer:
        if tensor.name not in graph.types:
            _add_constant(graph, tensor.name, numpy_helper.to_array(tensor))
    nodes: list[Node] = []
    for number, one in enumerate(made.node):
        attributes = attributes_from_proto(one.attribute)
        if one.op_type == "Constant":
            _add_constant(graph, one.output[0], _constant_of(attributes))
            continue
        new = replace(
            node,
            name=node.name if one.op_type == node.op else f"{node.name}/{number}",
            op=one.op_type,
            inputs=tuple(one.input),
            outputs=tuple(one.output),
            attributes=attributes,
            opset=version,
        )
        if new.op == "Shape" or all(name in graph.constants for name in new.inputs if name):
            _fold(graph, new)
            continue
        found = infer(new, graph.types, graph.constants)
        graph.types.update(zip((n for n in new.outputs if n), found, strict=True))
        nodes.append(new)
    return nodes


def _fold(graph: Graph, node: Node) -> None:
    """Compute a node of shape arithmetic that the converter wrote."""
    arrays = {name: graph.constants[name] for name in node.inputs if name in graph.constants}
    if node.op == "Shape":  # which reads no more of its input than its shape
        name = node.inputs[0]
        arrays[name] = np.broadcast_to(np.zeros((), np.bool_), graph.types[name].shape)
    for name, array in zip((n for n in node.outputs if n), evaluate(node, arrays), strict=True):
        _add_constant(graph, name, array)


def _add_constant(graph: Graph, name: str, array: NDArray[Any]) -> None:
    graph.constants[name] = array
    graph.types[name] = constant_type(array)


def _constant_of(attributes: dict[str, onnx.TensorProto]) -> NDArray[Any]:
    (value,) = attributes.values()
    return np.asarray(value)
