"""Which graph inputs decide shapes, axes or branches: those must be known at compile time."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

import onnx

from ipuc.graph.infer import DECIDING
from ipuc.importer.check import standard
from ipuc.importer.read import ModelSource

#: Operators that look at the shape of their input only, which is static, never at its values.
SHAPE_ONLY = frozenset({"EyeLike", "Shape", "Size"})

#: Value -> operator that makes it, and that operator's inputs.
Producers = Mapping[str, tuple[str, tuple[str, ...]]]


def trace(values: Collection[str], producers: Producers, inputs: Collection[str]) -> list[str]:
    """Find the graph inputs whose elements (not only shapes) reach the given values.

    Returns:
        Names in the order of `inputs`.
    """
    seen: set[str] = set()
    stack = list(values)
    while stack:
        name = stack.pop()
        if name in seen:
            continue
        seen.add(name)
        op, sources = producers.get(name, ("", ()))
        if op not in SHAPE_ONLY:
            stack.extend(source for source in sources if source)
    return [name for name in inputs if name in seen]


def deciding_inputs(source: ModelSource) -> list[str]:
    """List the data inputs of a model that decide a shape, an axis or a branch.

    It evaluates nothing, so it may name an input that turns out not to matter; it misses none.
    """
    producers: dict[str, tuple[str, tuple[str, ...]]] = {}
    wanted: list[str] = []
    for node in _all_nodes(source.proto.graph):
        names = tuple(node.input)
        # What the branches of an If hand out, the If hands out.
        inner = tuple(out.name for one in node.attribute for out in one.g.output)
        producers |= {name: (node.op_type, names + inner) for name in node.output if name}
        if not standard(node.domain):
            wanted += [names[at] for at in DECIDING.get(node.op_type, ()) if at < len(names)]
    return trace([name for name in wanted if name], producers, source.inputs)


def _all_nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """Yield the nodes of a graph and of the graphs inside it."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _all_nodes(attribute.g)
