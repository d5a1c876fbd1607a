"""Remove nodes that hand their input on unchanged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ipuc.graph.ir import Graph, Node, drop_unused
from ipuc.passes.define import (
    GraphPass,
    PassResult,
    copy_graph,
    follow,
    rename_values,
)


def _always(graph: Graph, node: Node) -> bool:
    del graph, node
    return True


def _one_input(graph: Graph, node: Node) -> bool:
    del graph
    return sum(bool(name) for name in node.inputs) == 1


def _not_training(graph: Graph, node: Node) -> bool:
    mode = node.inputs[2] if len(node.inputs) > 2 else ""
    return not mode or (mode in graph.constants and not graph.constants[mode].any())


def _keeps_order(graph: Graph, node: Node) -> bool:
    """A transposition that only moves axes of size one moves no element."""
    shape = graph.types[node.inputs[0]].shape
    order = node.attributes.get("perm", list(range(len(shape)))[::-1])
    moved = [axis for axis in order if shape[axis] != 1]
    return moved == sorted(moved)


def _forward(graph: Graph, node: Node) -> bool:
    """A slice of everything is everything, unless it runs backwards along a long axis."""
    if len(node.inputs) < 5 or not node.inputs[4]:
        return True
    steps = graph.constants.get(node.inputs[4])
    return steps is not None and bool((np.asarray(steps) > 0).all())


def _no_padding(graph: Graph, node: Node) -> bool:
    """Same shape is not enough: one side may be cropped by as much as the other is padded."""
    pads = node.attributes.get("pads")
    if pads is None and len(node.inputs) > 1:
        pads = graph.constants.get(node.inputs[1])
    return pads is not None and not np.asarray(pads).any()


#: Operator -> whether the node changes nothing, given that input and output have equal types.
_CHANGES_NOTHING: dict[str, Callable[[Graph, Node], bool]] = {
    "Cast": _always,
    "CastLike": _always,
    "Concat": _one_input,
    "Dropout": _not_training,
    "Expand": _always,
    "Flatten": _always,
    "Identity": _always,
    "Max": _one_input,
    "Mean": _one_input,
    "Min": _one_input,
    "Pad": _no_padding,
    "Reshape": _always,
    "Slice": _forward,
    "Split": _always,
    "Squeeze": _always,
    "Sum": _one_input,
    "Tile": _always,
    "Transpose": _keeps_order,
    "Unsqueeze": _always,
}


@dataclass(frozen=True)
class DropIdentity(GraphPass):
    """Remove Identity, inference Dropout, and shape operators that leave type and order alone.

    The readers of the result read the input instead. A graph output keeps its name: the producer
    of the input takes it over. Where that cannot be (a graph input handed out as an output, or
    one value under two output names) the node stays, as an Identity.
    """

    name: ClassVar[str] = "drop-identity"

    def run(self, graph: Graph) -> PassResult:
        """Apply the pass."""
        names: dict[str, str] = {}  # old name -> new name
        result = copy_graph(graph, [])
        fixed = {*graph.inputs, *graph.constants, *graph.state}
        outputs = set(graph.roots())
        modified = False
        for old in graph.nodes:
            node = rename_values(old, names)
            if not _is_identity(graph, old):
                result.nodes.append(node)
                continue
            source, target = node.inputs[0], follow(names, old.outputs[0])
            _add_mask(graph, result, old)
            if target not in outputs:
                names[target] = source
            elif source in result.constants:
                result.constants[target] = result.constants[source]
            elif source not in fixed and source not in outputs:
                names[source] = target
                result.nodes = [rename_values(one, {source: target}) for one in result.nodes]
            else:
                plain = Node(
                    old.name, "Identity", (source,), (target,), {}, "", graph.opset, old.origins
                )
                modified |= plain != node
                result.nodes.append(plain)
                continue
            modified = True
        if not modified:
            return PassResult(graph, modified=False)
        drop_unused(result)
        return PassResult(result, modified=True)


def _is_identity(graph: Graph, node: Node) -> bool:
    test = None if node.domain else _CHANGES_NOTHING.get(node.op)
    if test is None or (node.op != "Dropout" and len(node.outputs) != 1) or not node.outputs[0]:
        return False
    same = graph.types[node.inputs[0]] == graph.types[node.outputs[0]]
    return same and test(graph, node)


def _add_mask(graph: Graph, result: Graph, node: Node) -> None:
    """Give the mask of an inference Dropout, which keeps everything, as a constant."""
    if node.op == "Dropout" and len(node.outputs) > 1 and node.outputs[1]:
        mask = node.outputs[1]
        result.constants[mask] = np.ones(graph.types[mask].shape, graph.types[mask].dtype)
