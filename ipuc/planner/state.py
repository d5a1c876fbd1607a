"""Where a value is updated in place."""

from __future__ import annotations

from ipuc.graph.ir import Node
from ipuc.planner.context import Context
from ipuc.program.tensor import Tensor


def updated(ctx: Context, node: Node, old: str, new: str) -> Tensor:
    """Give the memory in which an update leaves its result, holding what is updated.

    It is the state itself if `new` is what that state becomes and no later node reads it; else a
    copy, so that an update never changes what others still need.

    Args:
        ctx: the lowering.
        node: the update.
        old: the value that it changes.
        new: its result.
    """
    state = ctx.graph.state.get(old)
    lies = ctx.tensor(old)
    mine = state is not None and state.output == new and lies == ctx.lies(old)
    if mine and last_reader(ctx, old) is node:
        return lies
    return ctx.builder.copy(lies, new)


def last_reader(ctx: Context, value: str) -> Node | None:
    """The last node that reads a value."""
    found = [node for node in ctx.graph.nodes if value in node.inputs]
    return found[-1] if found else None


def is_read(ctx: Context, value: str) -> bool:
    """Whether a node reads a value, or it is a result of the graph."""
    return last_reader(ctx, value) is not None or value in ctx.graph.roots()
