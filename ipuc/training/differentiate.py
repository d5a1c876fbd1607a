"""Reverse-mode differentiation of the op graph."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from ipuc.errors import InternalError, UnsupportedOp
from ipuc.graph.ir import Graph, Node
from ipuc.ops.define import operators
from ipuc.ops.writer import GraphWriter


def differentiate(
    write: GraphWriter,
    nodes: Sequence[Node],
    upstream: Mapping[str, str],
    wanted: Collection[str],
) -> dict[str, str]:
    """Write the nodes that compute gradients.

    Args:
        write: of the graph that gets them.
        nodes: the forward nodes, in topological order.
        upstream: values that are differentiated, and the gradient that arrives at each (of its
            type).
        wanted: values whose gradients are asked for.

    Returns:
        The gradient of each wanted value; one on which nothing depends has none and is left out.
        Gradients through several uses are summed.

    Raises:
        UnsupportedOp: operators on the way have no gradient; all of them in one error.
    """
    needing = _dependent(write.graph, nodes, wanted)
    path = _path(nodes, upstream, needing)
    _refuse(write.graph, path, needing)
    arrived: dict[str, list[str]] = {value: [grad] for value, grad in upstream.items()}
    known = operators()
    for node in reversed(path):
        write.layer = node.layer_name
        gradients = [_total(write, arrived, name) if name else "" for name in node.outputs]
        if not any(gradients):
            continue
        asked = [name in needing for name in node.inputs]
        made = known[node.domain, node.op].gradient(write, node, gradients, asked)
        for name, gradient, needed in zip(node.inputs, made, asked, strict=True):
            if not gradient or not needed:
                continue
            if write.type(gradient) != write.type(name):
                raise InternalError(
                    f'the gradient of "{name}" is {write.type(gradient)}, it is {write.type(name)}',
                    where=node.where(),
                )
            arrived.setdefault(name, []).append(gradient)
    found: dict[str, str] = {}
    for name in wanted:
        if name in arrived:
            write.layer = _reader(nodes, name)
            found[name] = _total(write, arrived, name)
    return found


def _reader(nodes: Sequence[Node], name: str) -> str:
    return next((node.layer_name for node in nodes if name in node.inputs), "")


def _total(write: GraphWriter, arrived: dict[str, list[str]], name: str) -> str:
    """The sum of what has arrived at a value; "" if nothing has."""
    parts = arrived.get(name, [])
    if len(parts) > 1:
        arrived[name] = [write.op("Sum" if len(parts) > 2 else "Add", *parts)]
    return arrived[name][0] if parts else ""


def _dependent(graph: Graph, nodes: Sequence[Node], wanted: Collection[str]) -> set[str]:
    """Floating point values that depend on a wanted one, those included."""
    found = set(wanted)
    for node in nodes:
        if not found.isdisjoint(node.inputs):
            found.update(name for name in node.outputs if name and graph.types[name].is_float)
    return found


def _path(nodes: Sequence[Node], ends: Collection[str], needing: Collection[str]) -> list[Node]:
    """Nodes that lie between a wanted value and what is differentiated, in order."""
    reached = {name for name in ends if name in needing}
    found: list[Node] = []
    known = operators()
    for node in reversed(nodes):
        if reached.isdisjoint(node.outputs):
            continue
        inputs = {name for name in node.inputs if name in needing}
        op = known.get((node.domain, node.op))
        if inputs and not (op is not None and op.differentiable() == "flat"):
            found.append(node)
            reached |= inputs
    return found[::-1]


def _refuse(graph: Graph, path: Sequence[Node], needing: Collection[str]) -> None:
    known = operators()
    lines: list[str] = []
    for node in path:
        op = known.get((node.domain, node.op))
        if op is None:
            reason: str | None = f"operator {node.domain or 'ai.onnx'}.{node.op} has no gradient"
        else:
            reason = op.refuse_gradient(node, graph)
        if reason:
            names = [name for name in node.inputs if name in needing]
            lines.append(f'{node.where()}, on the way to "{names[0]}": {reason}')
    if lines:
        raise UnsupportedOp(
            f"{len(lines)} node{'s' * (len(lines) > 1)} on the way of the gradients "
            f"{'have' if len(lines) > 1 else 'has'} none:\n    " + "\n    ".join(lines),
            fix="replace these operators, or ask for no gradient of what lies before them "
            "(in training: --freeze PATTERN)",
        )
