"""ONNX's operator Gradient, which is replaced by the nodes that compute what it stands for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ipuc.errors import UnsupportedOp, nearest
from ipuc.graph.infer import GRADIENT
from ipuc.graph.ir import Graph, Node
from ipuc.graph.raising import raised
from ipuc.ops.writer import GraphWriter
from ipuc.passes.define import fresh
from ipuc.training.differentiate import differentiate

#: Gradients are written in this standard operator set, or the model's own if that is later.
OPSET = 18


def resolve_gradients(graph: Graph) -> Graph:
    """Replace every node Gradient.

    The derivative is that of the sum of all elements of "y". Values in "xs" and "zs" are
    independent: what computes them is not looked at. If the node is given other tensors than
    those, what lies between them and "y" is computed again from the tensors given.
    Source: ONNX preview training Gradient-1.

    Raises:
        UnsupportedOp: it names values that do not exist, or that lie behind it; or something on
            the way has no gradient.
    """
    if not any((node.domain, node.op) == GRADIENT for node in graph.nodes):
        return graph
    result = raised(graph, OPSET)
    write = GraphWriter(result)  # which knows the names of all nodes
    nodes, result.nodes = result.nodes, []
    for node in nodes:
        if (node.domain, node.op) == GRADIENT:
            _resolve(write, node)
        else:
            result.nodes.append(node)
    return result


def _resolve(write: GraphWriter, node: Node) -> None:
    graph = write.graph
    names, y = _named(graph, node)
    given = dict(zip(names, node.inputs, strict=True))
    write.layer, write.layer_pass = node.name, "forward"
    moved = {name: value for name, value in given.items() if name != value}
    nodes, again = _moved(write, _between(graph, y, names), moved)
    end, sources = again.get(y, y), [given[name] for name in names[: len(node.outputs)]]
    write.layer_pass = "backward"
    ones = write.expanded(write.scalar(1.0, end), write.shape(end))
    gradients = differentiate(write, nodes, {end: ones}, dict.fromkeys(sources))
    write.layer = node.name
    for source, output in zip(sources, node.outputs, strict=True):
        if output:
            del graph.types[output]  # of the node that is gone
            found = gradients.get(source) or write.zeros(source)
            write.op("Identity", found, name=output)


def _named(graph: Graph, node: Node) -> tuple[list[str], str]:
    """The independent values in the order of the node's inputs, and what is differentiated."""
    xs, zs = (list(node.attributes.get(key, [])) for key in ("xs", "zs"))
    y = str(node.attributes.get("y", ""))
    if len(xs) + len(zs) != len(node.inputs) or len(node.outputs) > len(xs):
        raise UnsupportedOp(
            f"xs and zs name {len(xs)} and {len(zs)} values; the node has {len(node.inputs)} "
            f"inputs and {len(node.outputs)} outputs",
            where=node.where(),
            fix="give one input for each of them, and one output for each of xs",
        )
    known = {*graph.inputs, *graph.constants, *graph.state, *graph.values()}
    for name in (*xs, *zs, y):
        if name not in known:
            raise UnsupportedOp(
                f'it names a value "{name}", which nothing before it makes',
                where=node.where(),
                fix=nearest(name, known),
            )
    for name in (*xs, y):
        if not graph.types[name].is_float:
            raise UnsupportedOp(
                f'"{name}" is {graph.types[name]}: only floating point values have gradients',
                where=node.where(),
                fix="put values of other types into zs",
            )
    for name, value in zip((*xs, *zs), node.inputs, strict=True):
        if graph.types[name] != graph.types[value]:
            raise UnsupportedOp(
                f'"{name}" is {graph.types[name]}, and its input "{value}" is {graph.types[value]}',
                where=node.where(),
                fix="differentiate at a value of the same type",
            )
    return [*xs, *zs], y


def _between(graph: Graph, y: str, independent: Sequence[str]) -> list[Node]:
    """Nodes that compute y from the independent values and whatever else it depends on."""
    cut, needed = set(independent), {y}
    found: list[Node] = []
    for node in reversed(graph.nodes):
        if not (needed - cut).isdisjoint(node.outputs):
            found.append(node)
            needed.update(node.inputs)
    return found[::-1]


def _moved(
    write: GraphWriter, nodes: Sequence[Node], given: Mapping[str, str]
) -> tuple[list[Node], dict[str, str]]:
    """Compute again what depends on values that are given otherwise.

    Returns:
        The nodes, those that were written anew among them; and new names by old ones.
    """
    graph, names = write.graph, dict(given)
    found: list[Node] = []
    for node in nodes:
        if names.keys().isdisjoint(node.inputs):
            found.append(node)
            continue
        read = tuple(names.get(name, name) for name in node.inputs)
        for name in filter(None, node.outputs):
            names[name] = fresh(graph, f"{write.layer}/{name}")
            graph.types[names[name]] = graph.types[name]
        made = tuple(name and names[name] for name in node.outputs)
        copy = replace(node, name=f"{write.layer}/{node.name}", inputs=read, outputs=made)
        graph.nodes.append(copy)
        found.append(copy)
    return found, names
