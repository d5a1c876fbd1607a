"""Lower a graph node by node, then map what is left by its use."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ipuc.errors import UnsupportedOp
from ipuc.graph.ir import Graph, Node
from ipuc.lowering.labels import Label, label_layers
from ipuc.lowering.outline import Outliner
from ipuc.lowering.state import settle
from ipuc.ops.define import operators
from ipuc.planner.choices import Choices
from ipuc.planner.context import Context, Granularity
from ipuc.planner.precision import Precision
from ipuc.program.builder import Builder
from ipuc.program.program import Held, Layer, Program
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
    *,
    precision: Precision | None = None,
    saturate: bool = False,
    choices: Choices | None = None,
    firsts: Sequence[int] = (),
    plans: dict[Any, Any] | None = None,
    outline: bool = False,
) -> Program:
    """Make the tile program of a graph.

    Args:
        graph: static shapes; passes have run.
        target: the machine.
        granularity: `tile`, `worker` or `fine`.
        progress: called with (nodes done, nodes in all).
        precision: number formats of the layers; float32 by default.
        saturate: constants too large for a half become the largest one, not infinity.
        choices: memory that each layer may use, and pinned plans.
        firsts: the first layer of every IPU but the first; see `ipuc.lowering.shard`.
        plans: what another lowering of the graph for such tiles has planned; gets what is new.
        outline: identical layers share one program function; see `ipuc.lowering.outline`.

    Raises:
        UnsupportedOp: nodes that cannot be compiled, all of them.
        OptionError: a rule of the precision or of the choices fits no layer, or a pinned plan
            does not fit its layer.
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
    formats = precision or Precision()
    formats.check(node.layer_name for node in graph.nodes)
    decided = choices or Choices()
    decided.check(node.name for node in graph.nodes)
    known_plans = {} if plans is None else plans
    ctx = Context(builder, graph, granularity, formats, saturate, known_plans, choices=decided)
    known = operators()
    for name in graph.inputs:
        kind = graph.types[name]
        carried = _carried(graph, name, formats)
        builder.values[name] = builder.input(name, kind.dtype, kind.shape, carried)
    labels = label_layers(graph)
    outliner = Outliner(ctx, known, firsts) if outline else None
    for done, node in enumerate(graph.nodes):
        builder.layer, builder.layer_pass, ctx.node, ctx.plan = node.name, node.layer_pass, node, {}
        builder.ipu += done in firsts
        first = len(builder.variables)
        op = known[node.domain, node.op]
        if outliner is None or not outliner.lower(op, node):
            op.lower(ctx, node)
        decided.check_obeyed(node.name, ctx.plan)
        outputs = tuple(name for name in node.outputs if name)
        if any(graph.types[name].dtype in _LONG for name in outputs):
            for variable in builder.variables[first:]:
                variable.narrowed = variable.dtype in _LONG.values()
        settle(ctx, done)
        builder.layers.append(_layer(node, outputs, ctx.plan, labels))
        if progress is not None:
            progress(done + 1, len(graph.nodes))
    builder.layer, builder.layer_pass, ctx.node = "", "forward", None
    for name in graph.outputs:
        builder.output(name, ctx.lies(name), graph.types[name].dtype)
    settle(ctx, len(graph.nodes))
    for name in graph.state:
        builder.state[name] = Held(ctx.lies(name), graph.types[name].dtype)
    if outliner is not None:
        outliner.finish()
    builder.map_rest()
    return builder.build()


def _layer(
    node: Node, outputs: tuple[str, ...], plan: dict[str, Any], labels: Mapping[str, Label]
) -> Layer:
    label = labels.get(node.layer_name, Label(node.layer_name.capitalize(), ""))
    return Layer(
        node.name,
        node.op,
        node.origins,
        outputs,
        plan,
        node.layer_name,
        node.layer_pass,
        label.name,
        label.sizes,
    )


#: ONNX's long integers, and what carries them on a tile.
_LONG = {"int64": "int32", "uint64": "uint32"}


def _carried(graph: Graph, name: str, formats: Precision) -> str:
    """The type in which an input arrives: the widest that a layer which reads it wants."""
    dtype = graph.types[name].dtype
    readers = [formats.of(node.layer_name) for node in graph.nodes if name in node.inputs]
    wanted = {reader.dtype(dtype, name) for reader in readers or [formats.default]}
    return max(wanted, key=lambda kind: np.dtype(kind).itemsize)
