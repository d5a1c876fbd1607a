"""State in place: what a value becomes at the end of a run lies where it lay before."""

from __future__ import annotations

from ipuc.planner.context import Context
from ipuc.planner.state import last_reader


def settle(ctx: Context, done: int) -> None:
    """Copy what states have become onto them, as soon as nobody needs the old contents.

    What was computed in place needs no copy. A copy is charged like any other.

    Args:
        ctx: the lowering.
        done: number of the node that has just been lowered; that of all nodes at the end.
    """
    graph, builder = ctx.graph, ctx.builder
    made = graph.nodes[done].outputs if done < len(graph.nodes) else ()
    for name, state in graph.state.items():
        reader = last_reader(ctx, name)
        read = reader is None or any(reader is node for node in graph.nodes[: done + 1])
        due = state.output in made and read
        late = done == len(graph.nodes) and name not in ctx.settled
        if name in ctx.settled or not (due or late) or state.output == name:
            continue
        ctx.settled.add(name)
        home, new = ctx.lies(name), ctx.lies(state.output)
        if home != new:
            if home.dtype != new.dtype:
                new = ctx.cast(new, home.dtype, f"{state.output} as {home.dtype}")
            builder.copy_into(home, new, f"{name} updated")
            builder.values[state.output] = home
