"""What a graph pass is, and what passes share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from ipuc.graph.ir import Graph, Node


@dataclass(frozen=True, slots=True)
class PassResult:
    """What a pass returns.

    Attributes:
        graph: the new graph, or the given one if nothing changed.
        modified: whether anything changed.
    """

    graph: Graph
    modified: bool


@dataclass(frozen=True)
class GraphPass(ABC):
    """A change of the graph that keeps its meaning: same inputs, same outputs, same values.

    A pass is a frozen dataclass; its options are fields. It never changes the graph or the nodes
    it is given, and running it on its own result changes nothing.
    """

    name: ClassVar[str]

    @abstractmethod
    def run(self, graph: Graph) -> PassResult:
        """Apply the pass."""


def copy_graph(graph: Graph, nodes: list[Node] | None = None) -> Graph:
    """Copy a graph so that its lists and dictionaries can be changed; arrays are shared.

    Args:
        graph: the graph.
        nodes: nodes of the copy; None for those of the graph.
    """
    return replace(
        graph,
        inputs=list(graph.inputs),
        outputs=list(graph.outputs),
        types=dict(graph.types),
        constants=dict(graph.constants),
        nodes=list(graph.nodes if nodes is None else nodes),
        metadata=dict(graph.metadata),
        state=dict(graph.state),
    )


def follow(names: Mapping[str, str], name: str) -> str:
    """Follow a chain of renames to its end."""
    while name in names:
        name = names[name]
    return name


def rename_values(node: Node, names: Mapping[str, str]) -> Node:
    """Copy a node with other names for its values; the node itself if none is concerned."""
    inputs = tuple(follow(names, name) for name in node.inputs)
    outputs = tuple(follow(names, name) for name in node.outputs)
    if inputs == node.inputs and outputs == node.outputs:
        return node
    return replace(node, inputs=inputs, outputs=outputs)


def fresh(graph: Graph, base: str) -> str:
    """Find a value name that the graph does not use yet."""
    name, count = base, 1
    while name in graph.types:
        count += 1
        name = f"{base}_{count}"
    return name
