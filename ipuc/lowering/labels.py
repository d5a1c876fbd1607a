"""Names and sizes of layers for people: "Conv 2 - 5x5", "[64 in, 192 out]"."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from ipuc.graph.ir import Graph, Node

#: Names of operators that are layers of their own in everybody's words.
_WORDS = {
    "AveragePool": "Average pool",
    "BatchNormalization": "Batch norm",
    "GlobalAveragePool": "Global average pool",
    "GlobalMaxPool": "Global max pool",
    "LayerNormalization": "Layer norm",
    "MaxPool": "Max pool",
    "Relu": "ReLU",
}


@dataclass(frozen=True, slots=True)
class Label:
    """What a layer is called in pictures and reports.

    Attributes:
        name: readable and unique, such as "Conv 2 - 5x5".
        sizes: channels in and out, or the shape of the result.
    """

    name: str
    sizes: str


def label_layers(graph: Graph) -> dict[str, Label]:
    """Label every layer of a graph, by the name of its forward node.

    Convolutions and fully connected layers are counted together, as in papers; other operators
    each for themselves.
    """
    counts: Counter[str] = Counter()
    found: dict[str, Label] = {}
    for node in graph.nodes:
        if node.layer:
            continue
        kind = _kind(node, graph)
        group = "weights" if kind in ("Conv", "Fully connected") else kind
        counts[group] += 1
        window = _window(node, graph)
        name = f"{kind} {counts[group]}" + (f" - {window}" if window else "")
        found[node.name] = Label(name, _sizes(node, graph, kind))
    return found


def _weight(node: Node, graph: Graph, position: int) -> bool:
    name = node.inputs[position] if position < len(node.inputs) else ""
    return name in graph.constants or name in graph.state


def _kind(node: Node, graph: Graph) -> str:
    if node.op == "Gemm" or (node.op == "MatMul" and _weight(node, graph, 1)):
        return "Fully connected"
    return _WORDS.get(node.op, node.op)


def _window(node: Node, graph: Graph) -> str:
    if node.op == "Conv":
        return "x".join(map(str, graph.types[node.inputs[1]].shape[2:]))
    return "x".join(map(str, node.attributes.get("kernel_shape", ())))


def _sizes(node: Node, graph: Graph, kind: str) -> str:
    out = graph.types[node.outputs[0]].shape
    if node.op == "Conv":
        weights = graph.types[node.inputs[1]].shape
        return f"[{weights[1] * int(node.attributes.get('group', 1))} in, {weights[0]} out]"
    if kind == "Fully connected":
        into = graph.types[node.inputs[0]].shape
        depth = into[0] if node.attributes.get("transA") else into[-1]
        return f"[{depth} in, {out[-1]} out]"
    return f"[{'x'.join(map(str, out))}]"
