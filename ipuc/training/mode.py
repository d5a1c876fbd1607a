"""A model in training mode: statistics of the batch, and dropout that drops."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ipuc.errors import UnsupportedOp
from ipuc.graph.ir import Graph, Node, State, constant_type
from ipuc.passes.define import copy_graph, fresh

#: BatchNormalization and Dropout have today's training forms since these operator sets.
_BATCH_NORM, _DROPOUT = 15, 13


def in_training_mode(graph: Graph) -> Graph:
    """Turn BatchNormalization and Dropout to their training forms.

    Running means and variances become state, which every run moves towards those of its batch.

    Raises:
        UnsupportedOp: a BatchNormalization that normalises each element for itself.
    """
    result = copy_graph(graph, [])
    for node in graph.nodes:
        if node.domain:
            result.nodes.append(node)
        elif node.op == "BatchNormalization":
            result.nodes.append(_batch_norm(result, node))
        elif node.op == "Dropout":
            result.nodes.append(_dropout(result, node))
        else:
            result.nodes.append(node)
    return result


def _batch_norm(graph: Graph, node: Node) -> Node:
    if node.opset < 9 and not node.attributes.get("spatial", 1):
        raise UnsupportedOp("spatial=0 cannot be trained", where=node.where())
    kept: dict[str, Any] = {
        key: node.attributes[key] for key in ("epsilon", "momentum") if key in node.attributes
    }
    outputs = [node.outputs[0]]
    for name in node.inputs[3:5]:
        new = fresh(graph, f"new/{name}")
        graph.types[new] = graph.types[name]
        outputs.append(new)
        if name in graph.constants:
            graph.state[name] = State(new, graph.constants.pop(name))
    return replace(
        node,
        outputs=tuple(outputs),
        attributes={**kept, "training_mode": 1},
        opset=max(node.opset, _BATCH_NORM),
    )


def _dropout(graph: Graph, node: Node) -> Node:
    kind = graph.types[node.inputs[0]]
    ratio = node.inputs[1] if len(node.inputs) > 1 else ""
    if not ratio:
        given = np.asarray(node.attributes.get("ratio", 0.5), kind.dtype)
        ratio = _constant(graph, f"{node.name} ratio", given)
    mode = _constant(graph, f"{node.name} training", np.asarray(True))
    return replace(
        node,
        inputs=(node.inputs[0], ratio, mode),
        attributes={key: node.attributes[key] for key in ("seed",) if key in node.attributes},
        opset=max(node.opset, _DROPOUT),
    )


def _constant(graph: Graph, base: str, array: NDArray[Any]) -> str:
    name = fresh(graph, base)
    graph.constants[name] = array
    graph.types[name] = constant_type(array)
    return name
