"""Which channels of a value shall lie together: as the next convolution reads them.

Source: PopLibs, winter 2016/17: a convolution writes its result in the groups that the plan of the
next layer wants; half precision takes 16 channels where nothing else is wanted.
"""

from __future__ import annotations

from collections.abc import Callable

from ipuc.graph.ir import Graph, Node
from ipuc.planner.context import Context
from ipuc.planner.worker.layout import fitting_group

#: Channels that lie together where no convolution follows.
DEFAULT = 16


def wanted_group(
    ctx: Context, value: str, wants: Callable[[Node, str], int | None], channels: int
) -> int:
    """Channels of a value [batch, channels, *field] that shall lie together.

    Layers that keep batch and channels (rectifiers, pooling, additions and the like) hand the
    question on.

    Args:
        ctx: the lowering.
        value: name of the value.
        wants: the group in which a node reads one of its inputs, if it has a plan that says so.
        channels: of the value.
    """
    readers = _readers(ctx)
    waiting, seen = [value], {value}
    kept = ctx.graph.types[value].shape[:2]
    while waiting:
        name = waiting.pop(0)
        for node in readers.get(name, []):
            group = wants(node, name)
            if group is not None:
                return fitting_group(channels, group)
            for made in node.outputs:
                shape = ctx.graph.types[made].shape if made else ()
                if made not in seen and shape[:2] == kept and len(shape) > len(kept):
                    seen.add(made)
                    waiting.append(made)
    return fitting_group(channels, DEFAULT)


def _readers(ctx: Context) -> dict[str, list[Node]]:
    """The nodes that read each value, found once for a graph."""
    known: tuple[Graph, dict[str, list[Node]]] | None = ctx.plans.get("readers")
    if known is None or known[0] is not ctx.graph:
        known = ctx.plans["readers"] = (ctx.graph, ctx.graph.consumers())
    return known[1]
