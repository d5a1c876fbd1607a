"""Results of layers that the backward pass computes again instead of keeping.

Source: Chen et al., Training Deep Nets with Sublinear Memory Cost (2016), for what `all` keeps.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from ipuc.errors import OptionError, nearest
from ipuc.graph.ir import Graph, Node
from ipuc.ops.dropout import keep_mask, repeated
from ipuc.ops.writer import GraphWriter
from ipuc.passes.define import fresh

#: The pattern that leaves the choice to us.
ALL = "all"
#: Operators that are another view of their input: they keep it, and cost nothing again.
_VIEWS = frozenset({"Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"})
_BEFORE, _BACKWARD = ("forward", "loss"), "backward"


@dataclass(frozen=True, slots=True)
class Recomputed:
    """What is computed again.

    Attributes:
        layers: in forward order.
        released: their results, which need not live until the backward pass.
    """

    layers: tuple[str, ...] = ()
    released: tuple[str, ...] = ()


def recompute(graph: Graph, patterns: Sequence[str]) -> Recomputed:
    """Let the backward pass compute results of layers again, in place.

    Copies of their nodes stand right before the first node of the backward pass that reads them,
    and begin at the nearest values that are kept. Nothing is drawn or counted twice: a Dropout
    is repeated by its mask, which is kept, and running statistics move once. Results are the same
    bits, unless halves are rounded at random: then they are rounded anew.

    Args:
        graph: of one training step; updates stand behind the backward pass.
        patterns: of forward layers. `all` cuts the network into stretches, about as many as the
            root of the number of its layers, of equal bytes; what lies between two is kept.

    Raises:
        OptionError: a pattern fits no layer.
    """
    if not patterns:
        return Recomputed()
    forward = [node for node in graph.nodes if node.layer_pass == "forward"]
    again = _with_views(forward, _chosen(graph, forward, patterns))
    makers = {
        name: node for node in forward if node.name in again for name in _remade(node) if name
    }
    back = [node for node in graph.nodes if node.layer_pass not in _BEFORE]
    wanted = {name for node in back for name in node.inputs if name in makers}
    released = [name for name in makers if name in wanted]
    used: list[Node] = []
    for node in reversed(forward):
        if node.name in again and not wanted.isdisjoint(_remade(node)):
            used.append(node)
            wanted.update(name for name in node.inputs if name in makers)
    write = GraphWriter(graph)
    for node in used:
        if _drops(node):
            keep_mask(write, node)
    names = {node.name for node in used}
    used = [node for node in graph.nodes if node.name in names]
    copies = _Copies(graph, used, wanted)
    graph.nodes[:] = [
        made
        for node in graph.nodes
        for made in ([node] if node.layer_pass in _BEFORE else copies.before(node))
    ]
    layers = [node.layer_name for node in used if node.op not in _VIEWS]
    return Recomputed(tuple(dict.fromkeys(layers)), tuple(released))


def _remade(node: Node) -> tuple[str, ...]:
    """The results that a copy of a node makes: not statistics, and not a mask."""
    once = node.op == "BatchNormalization" or _drops(node)
    return node.outputs[:1] if once else node.outputs


def _drops(node: Node) -> bool:
    return node.op == "Dropout" and not node.domain


def _bytes(graph: Graph, name: str) -> int:
    return graph.types[name].size * graph.types[name].itemsize


def _chosen(graph: Graph, forward: Sequence[Node], patterns: Sequence[str]) -> set[str]:
    """Names of the nodes that the patterns mean."""
    names = [node.layer_name for node in forward]
    chosen: set[str] = set()
    for pattern in patterns:
        if pattern == ALL:
            chosen |= _stretches(graph, forward)
            continue
        found = {node.name for node in forward if fnmatchcase(node.layer_name, pattern)}
        if not found:
            raise OptionError(
                f'no layer is called "{pattern}"',
                where="--recompute",
                fix=f"{nearest(pattern, names)}; or all, which chooses",
            )
        chosen |= found
    return chosen


def _stretches(graph: Graph, forward: Sequence[Node]) -> set[str]:
    """Nodes of all stretches but the last, without those that make what a later one reads.

    The last stretch is the first that the backward pass needs: it would be computed twice in
    a row.
    """
    sizes = [
        0 if node.op in _VIEWS else sum(_bytes(graph, name) for name in node.outputs if name)
        for node in forward
    ]
    count = math.ceil(math.sqrt(sum(size > 0 for size in sizes)))
    share, total, stretch = max(sum(sizes), 1) / max(count, 1), 0, {}
    for node, size in zip(forward, sizes, strict=True):
        stretch[node.name] = min(int((total + size / 2) / share), count - 1)
        total += size
    last: dict[str, int] = {}
    for node in forward:
        for name in node.inputs:
            last[name] = max(last.get(name, 0), stretch[node.name])
    final = max(stretch.values(), default=0)
    return {
        node.name
        for node in forward
        if stretch[node.name] < final
        and all(last.get(name, 0) <= stretch[node.name] for name in node.outputs if name)
    }


def _with_views(forward: Sequence[Node], chosen: Collection[str]) -> set[str]:
    """The chosen nodes and every view of what they make, which would keep it."""
    again = set(chosen)
    made = {name for node in forward if node.name in again for name in node.outputs}
    for node in forward:
        if node.op in _VIEWS and not node.domain and node.inputs[0] in made:
            again.add(node.name)
            made.update(node.outputs)
    return again


class _Copies:
    """Writes copies of nodes where they are first needed.

    Args:
        graph: gets the types of new values.
        nodes: that may be copied, in order.
        wanted: their results that somebody reads again.
    """

    def __init__(self, graph: Graph, nodes: Sequence[Node], wanted: Collection[str]) -> None:
        self._graph = graph
        self._order = {node.name: at for at, node in enumerate(nodes)}
        self._makers = {name: node for node in nodes for name in _remade(node) if name}
        self._names = {name: "" for name in self._makers if name in wanted}
        self._taken = {node.name for node in graph.nodes}

    def before(self, reader: Node) -> list[Node]:
        """The copies that a node waits for, and the node, which reads them."""
        missing: dict[str, Node] = {}
        waiting = [name for name in reader.inputs if self._names.get(name) == ""]
        while waiting:
            node = self._makers[waiting.pop()]
            if node.name not in missing:
                missing[node.name] = node
                waiting += [name for name in node.inputs if self._names.get(name) == ""]
        order = sorted(missing.values(), key=lambda node: self._order[node.name])
        return [*(self._copy(node) for node in order), self._reading(reader)]

    def _reading(self, node: Node) -> Node:
        inputs = tuple(self._names.get(name, name) for name in node.inputs)
        return node if inputs == node.inputs else replace(node, inputs=inputs)

    def _new(self, name: str) -> str:
        """A value like another one."""
        made = fresh(self._graph, f"again/{name}")
        self._graph.types[made] = self._graph.types[name]
        return made

    def _copy(self, node: Node) -> Node:
        for name in filter(None, _remade(node)):
            self._names[name] = self._new(name)
        name, count = f"{node.name}/again", 1
        while name in self._taken:
            count += 1
            name = f"{node.name}/again_{count}"
        self._taken.add(name)
        outputs = [one and self._names[one] for one in _remade(node)]
        if node.op == "BatchNormalization":  # whose training form has three results
            outputs += [self._new(one) for one in node.outputs[1:]]
        return replace(
            self._reading(repeated(node, self._graph) if _drops(node) else node),
            name=name,
            outputs=tuple(outputs),
            layer=node.layer_name,
            layer_pass=_BACKWARD,
        )
