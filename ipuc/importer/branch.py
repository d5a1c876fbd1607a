"""Sub-graphs of If nodes put in place of the node, under names of their own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import onnx
from onnx import helper


def _inner_graphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def _defined(graph: onnx.GraphProto) -> set[str]:
    made = {name for node in graph.node for name in node.output if name}
    return made | {one.name for one in (*graph.initializer, *graph.input)}


def _rename(graph: onnx.GraphProto, names: Mapping[str, str]) -> None:
    """Rename values in a graph and in the graphs inside it, in place.

    A graph inside hides names that it defines itself.
    """
    for tensor in graph.initializer:
        tensor.name = names.get(tensor.name, tensor.name)
    for node in graph.node:
        for at, name in enumerate(node.input):
            node.input[at] = names.get(name, name)
        for at, name in enumerate(node.output):
            node.output[at] = names.get(name, name)
        for inner in _inner_graphs(node):
            hidden = _defined(inner)
            _rename(inner, {old: new for old, new in names.items() if old not in hidden})
    for output in graph.output:
        output.name = names.get(output.name, output.name)


def branch_nodes(node: onnx.NodeProto, taken: bool) -> list[onnx.NodeProto]:
    """Write the branch of an If that is taken as plain nodes.

    Args:
        node: an If node of a checked model.
        taken: the value of its condition.

    Returns:
        Nodes that make the If node's outputs; initializers of the branch become Constant nodes.
    """
    wanted = "then_branch" if taken else "else_branch"
    graph = onnx.GraphProto()
    graph.CopyFrom(next(one.g for one in node.attribute if one.name == wanted))
    # Two branches may use one name for two values, so all get the If node's name in front.
    prefix = node.name or next(name for name in node.output if name)
    _rename(graph, {name: f"{prefix}/{name}" for name in _defined(graph)})
    nodes = [
        helper.make_node("Constant", [], [tensor.name], name=tensor.name, value=tensor)
        for tensor in graph.initializer
    ]
    for inner in graph.node:
        inner.name = f"{prefix}/{inner.name}" if inner.name else ""
        nodes.append(inner)
    nodes += [
        helper.make_node("Identity", [value.name], [name], name=f"{prefix}/{value.name}")
        for value, name in zip(graph.output, node.output, strict=False)
        if name
    ]
    return nodes
