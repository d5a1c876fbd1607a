"""Remove what no graph output needs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from ipuc.graph.ir import Graph, Node, drop_unused
from ipuc.passes.define import GraphPass, PassResult, copy_graph


@dataclass(frozen=True)
class RemoveDead(GraphPass):
    """Remove nodes whose outputs reach no graph output, unread extra outputs, unread constants.

    Inputs stay even if nothing reads them: they are part of the model's signature.
    """

    name: ClassVar[str] = "remove-dead"

    def run(self, graph: Graph) -> PassResult:
        """Apply the pass."""
        needed = set(graph.roots())
        kept: list[Node] = []
        for node in reversed(graph.nodes):
            if needed.isdisjoint(name for name in node.outputs if name):
                continue
            needed.update(node.inputs)
            kept.append(_without_extras(node, needed))
        kept.reverse()
        result = copy_graph(graph, kept)
        drop_unused(result)
        modified = (
            len(kept) != len(graph.nodes)
            or len(result.constants) != len(graph.constants)
            or any(new is not old for new, old in zip(kept, graph.nodes, strict=True))
        )
        return PassResult(result if modified else graph, modified)


#: Operators whose further outputs are extras that may be left out. (A Split makes parts: leaving
#: one out would change its meaning.)
_EXTRAS = frozenset({"BatchNormalization", "Dropout", "LayerNormalization", "MaxPool"})


def _without_extras(node: Node, needed: set[str]) -> Node:
    if node.domain or node.op not in _EXTRAS:
        return node
    # The first output is the result itself, and not optional.
    extras = [name if name in needed else "" for name in node.outputs[1:]]
    # All extras or none: BatchNormalization allows certain numbers of outputs only.
    outputs = (node.outputs[0], *(extras if any(extras) else ()))
    return node if outputs == node.outputs else replace(node, outputs=outputs)
