"""Lower a graph node by node, then map what is left by its use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ipuc.errors import UnsupportedOp
from ipuc.graph.ir import Graph, Node
from ipuc.ops.define import operators
from ipuc.planner.context import Context, Granularity
from ipuc.program.builder import Builder
from ipuc.program.program import Layer, Program
from ipuc.target import Target


def refusals(graph: Graph) -> list[str]:
    """Every node that cannot be compiled: node, operator and reason, one line each."""
    known = operators()
    found: list[str] = []
    for node in graph.nodes:
        op = known.get((node.domain, node.op))
        reason = f"operator {node.domain or 'ai.onnx'}.{node.op} has no lowering"
        if op is not None:
            reason = op.refuse(node, graph) or _unknown_shape_input(node, graph, op.shape_inputs)
        if reason:
            found.append(f"{node.where()}: {reason}")
    return found


def _unknown_shape_input(node: Node, graph: Graph, positions: tuple[int, ...]) -> str:
    for position in positions:
        if position < len(node.inputs) and node.inputs[position]:
            name = node.inputs[position]
            if name not in graph.constants:
                return f'input "{name}" decides a shape or axis and is not known before the run'
    return ""


def lower(
    graph: Graph,
    target: Target,
    granularity: Granularity = "tile",
    progress: Callable[[int, int], Any] | None = None,
) -> Program:
    """Make the tile program of a graph.

    Args:
        graph: static shapes; passes have run.
        target: the machine.
        granularity: `tile`, `worker` or `fine`.
        progress: called with (nodes done, nodes in all).

    Raises:
        UnsupportedOp: nodes that cannot be compiled, all of them.
    """
    refused = refusals(graph)
    if refused:
        raise UnsupportedOp(
            f"{len(refused)} of {len(graph.nodes)} nodes cannot be compiled:\n    "
            + "\n    ".join(refused),
            fix="replace these operators, or give a value for the named input (--const NAME=FILE)",
        )
    builder = Builder(target)
    # Below `tile`, vertices are cut for single workers; kernels of the matrix unit ask for all.
    builder.workers = "all" if granularity == "tile" else "one"
    ctx = Context(builder, graph, granularity)
    known = operators()
    for name in graph.inputs:
        kind = graph.types[name]
        builder.values[name] = builder.input(name, kind.dtype, kind.shape)
    for done, node in enumerate(graph.nodes):
        builder.layer, ctx.plan = node.name, {}
        known[node.domain, node.op].lower(ctx, node)
        outputs = tuple(name for name in node.outputs if name)
        builder.layers.append(Layer(node.name, node.op, node.origins, outputs, ctx.plan))
        if progress is not None:
            progress(done + 1, len(graph.nodes))
    builder.layer = ""
    for name in graph.outputs:
        builder.output(name, ctx.tensor(name), graph.types[name].dtype)
    builder.map_rest()
    return builder.build()
