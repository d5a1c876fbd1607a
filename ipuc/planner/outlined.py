"""What a layer says of itself so that equal layers can share one program function."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ipuc.graph.ir import Node
from ipuc.planner.context import Context
from ipuc.planner.in_place import last_readers
from ipuc.program.tensor import Tensor


@dataclass(frozen=True, slots=True)
class Outline:
    """How a layer becomes a call of a function.

    Layers of equal keys run the same vertices: the first of them is lowered on arguments, which
    are variables of the function, and each of them copies in what it reads and copies out what it
    gets. The key holds all that decides the vertices beside the machine, the number format, and the
    memory and the plan that the layer may have.

    Contents of what a layer reads must decide nothing: another layer's are copied in.

    Attributes:
        key: equal for layers that can share.
        arguments: gives what the layer reads: tensors of equal shapes and types for equal keys.
            It is asked in the layer's turn.
        lower: adds the vertices on stand-ins for these tensors; gives the results.
        into: gives, for each result, the tensor that it takes the place of; None makes a new one.
        define: takes the results as they lie in the end.
    """

    key: Hashable
    arguments: Callable[[], Sequence[Tensor]]
    lower: Callable[[Sequence[Tensor]], Sequence[Tensor]]
    into: Callable[[], Sequence[Tensor | None]]
    define: Callable[[Sequence[Tensor]], None]


def outline_of(ctx: Context, node: Node, lower: Callable[[], None]) -> Outline:
    """Let a node share with nodes of the same operator, attributes and types.

    A result that becomes the new value of a state that the node reads takes its place, if no later
    node reads the old one. Scalars are no arguments: constants decide by what they hold, and others
    are read where they lie, so that only nodes that read the same one share.

    Args:
        ctx: the lowering.
        node: the node.
        lower: adds its vertices and defines its outputs.
    """
    graph = ctx.graph
    given = [name for name in dict.fromkeys(node.inputs) if name]
    names = [name for name in given if graph.types[name].shape]
    outputs = [name for name in node.outputs if name]

    def on(stand_ins: Sequence[Tensor]) -> list[Tensor]:
        with ctx.standing_in(dict(zip(names, stand_ins, strict=True))):
            lower()
            return [ctx.lies(name) for name in outputs]

    def into() -> list[Tensor | None]:
        last, now = last_readers(ctx), len(ctx.builder.layers)
        found: dict[str, Tensor] = {
            state.output: ctx.tensor(name)
            for name, state in graph.state.items()
            if name in names and last.get(name, -1) <= now
        }
        return [found.get(name) for name in outputs]

    def define(results: Sequence[Tensor]) -> None:
        for name, made in zip(outputs, results, strict=True):
            ctx.define(name, made)

    key = node.domain, node.op, node.opset, frozen(node.attributes)
    types = tuple(
        (name in names and str(graph.types[name])) or _scalar(ctx, name) for name in given
    )
    places = tuple(given.index(name) if name else -1 for name in node.inputs)
    made = tuple(name and str(graph.types[name]) for name in node.outputs)
    return Outline(
        (key, types, places, made),
        lambda: [ctx.tensor(name) for name in names],
        on,
        into,
        define,
    )


def _scalar(ctx: Context, name: str) -> Hashable:
    """What a scalar decides: its contents, or which one it is."""
    known = ctx.constant(name)
    return ("scalar", name) if known is None else frozen(known)


def frozen(value: Any) -> Hashable:
    """An attribute, or a dict or list of them, as something that can be a key."""
    if isinstance(value, Mapping):
        return tuple(sorted((name, frozen(item)) for name, item in value.items()))
    if isinstance(value, np.ndarray):
        return value.dtype.name, value.shape, value.tobytes()
    if isinstance(value, list | tuple):
        return tuple(frozen(item) for item in value)
    kept: Hashable = value
    return kept
