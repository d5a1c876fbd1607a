"""A weight's gradient and the step down it, in one node: nothing of the gradient is kept."""

from __future__ import annotations

from dataclasses import replace

from ipuc.graph.bodies import DOMAIN
from ipuc.graph.ir import Graph, Node


def fuse_updates(graph: Graph) -> None:
    """Join steps of stochastic gradient descent with the gradients that only they read, in place.

    Not joined are steps with weight decay, which also read the weight, and gradients that are
    summed or computed in several nodes.
    """
    readers = graph.consumers()
    makers = {name: node for node in graph.nodes for name in node.outputs}
    roots = set(graph.roots())
    joined: dict[str, Node] = {}
    gone: set[str] = set()
    for node in graph.nodes:
        if (node.domain, node.op) != (DOMAIN, "SgdUpdate") or node.attributes["decay"]:
            continue
        if node.inputs[3] not in graph.constants:
            continue  # whether the step is taken is known once all gradients are
        maker = makers.get(node.inputs[1])
        if maker is None or len(readers[node.inputs[1]]) > 1 or node.inputs[1] in roots:
            continue
        made = _joined(graph, maker, node)
        if made is not None:
            joined[node.name] = made
            gone.add(maker.name)
    graph.nodes[:] = [joined.get(node.name, node) for node in graph.nodes if node.name not in gone]


def _joined(graph: Graph, maker: Node, step: Node) -> Node | None:
    """The one node that does what both do; None if there is none."""
    weight, _, scale, _ = step.inputs
    rate = {"rate": step.attributes["rate"]}
    if (maker.domain, maker.op) == (DOMAIN, "ConvWeightGrad"):
        inputs = (weight, *maker.inputs, scale)
        return replace(step, op="ConvUpdate", inputs=inputs, attributes=maker.attributes | rate)
    if maker.domain:
        return None
    if maker.op == "Gemm" and len(maker.inputs) == 2 and maker.attributes.get("alpha", 1.0) == 1:
        flags = {name: int(maker.attributes.get(name, 0)) for name in ("transA", "transB")}
        inputs = (weight, *maker.inputs, scale)
        return replace(step, op="DenseUpdate", inputs=inputs, attributes=flags | rate)
    if maker.op == "ReduceSum" and _over_all_but_channels(graph, maker):
        inputs = (weight, maker.inputs[0], scale)
        return replace(step, op="BiasUpdate", inputs=inputs, attributes=rate)
    return None


def _over_all_but_channels(graph: Graph, node: Node) -> bool:
    shape = graph.types[node.inputs[0]].shape
    axes = graph.constants.get(node.inputs[1]) if len(node.inputs) > 1 else None
    if axes is None or node.attributes.get("keepdims", 1) or len(shape) < 2:
        return False
    wanted = [0, *range(2, len(shape))]
    return sorted(int(axis) % len(shape) for axis in axes) == wanted
