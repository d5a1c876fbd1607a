"""The order of a training graph, and the layer pass of every node."""

from __future__ import annotations

from dataclasses import replace

from ipuc.graph.ir import Graph, Node

_UPDATE = "weight update"


def label_passes(graph: Graph) -> None:
    """Tell weight gradients from gradients of activations, in place.

    A node of the backward pass that only the update of its own layer's weights reads, or what
    leads there, belongs to the pass "weight update".
    """
    readers = graph.consumers()
    outputs = set(graph.outputs)
    passes: dict[str, str] = {}
    for at in range(len(graph.nodes) - 1, -1, -1):
        node = graph.nodes[at]
        if node.layer_pass == "backward":
            users = [user for name in node.outputs for user in readers.get(name, ())]
            inner = all(
                passes[user.name] == _UPDATE and user.layer_name == node.layer_name
                for user in users
            )
            if inner and (users or not outputs.isdisjoint(node.outputs)):
                graph.nodes[at] = replace(node, layer_pass=_UPDATE)
        passes[node.name] = graph.nodes[at].layer_pass


def schedule(graph: Graph) -> None:
    """Put every update right after the last node that needs what it changes, in place.

    Gradients of weights then live no longer than they must, and states can be written in place.
    Nodes stand in topological order before and after.
    """
    place = {name: at for at, node in enumerate(graph.nodes) for name in node.outputs if name}
    last_read: dict[str, int] = {}
    for at, node in enumerate(graph.nodes):
        if not _updates(node):
            last_read.update((name, at) for name in node.inputs if name in graph.state)
    becomes = {state.output: name for name, state in graph.state.items()}
    keys: list[tuple[int, int]] = []
    for at, node in enumerate(graph.nodes):
        key = (at, 0)
        if _updates(node):
            waits = [place[name] for name in node.inputs if name in place]
            changed = [becomes[name] for name in node.outputs if name in becomes]
            waits += [last_read.get(name, 0) for name in changed]
            latest = max(waits, default=0)
            key = (latest, 1 + at)
            place.update(dict.fromkeys((name for name in node.outputs if name), latest))
        keys.append(key)
    order = sorted(range(len(graph.nodes)), key=keys.__getitem__)
    graph.nodes[:] = [graph.nodes[at] for at in order]


def _updates(node: Node) -> bool:
    return node.domain == "ai.ipuc" and node.op.endswith("Update")
