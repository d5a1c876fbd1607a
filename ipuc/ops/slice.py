"""Slice."""

from __future__ import annotations

from typing import ClassVar

from ipuc.graph.ir import Node
from ipuc.ops.define import Op
from ipuc.ops.shaping import integers
from ipuc.planner.context import Context


class Slice(Op):
    """Take every k-th index of some axes, forwards or backwards, clamped as ONNX says.

    Source: ONNX Slice-1 (attributes), Slice-10 and newer (inputs).
    """

    name: ClassVar[str] = "Slice"
    shape_inputs: ClassVar[tuple[int, ...]] = (1, 2, 3, 4)

    def lower(self, ctx: Context, node: Node) -> None:
        """A view, with a stride for each axis."""
        x = ctx.tensor(node.inputs[0])
        starts = integers(ctx, node, 1, "starts") or []
        ends = integers(ctx, node, 2, "ends") or []
        axes = integers(ctx, node, 3, "axes") or range(len(starts))
        steps = integers(ctx, node, 4, "steps") or [1] * len(starts)
        rank = len(x.shape)
        for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
            where = axis % rank
            x = x.slice(where, *_clamped(start, end, step, x.shape[where]))
        ctx.define(node.outputs[0], x)


def _clamped(start: int, end: int, step: int, extent: int) -> tuple[int, int, int]:
    """Hold begin and end to the axis.

    It differs from Python in one case: a backward slice that begins before the first element
    begins at it.
    """
    low, high = (0, extent) if step > 0 else (-1, extent - 1)
    first = start + extent if start < 0 else start
    last = end + extent if end < 0 else end
    return min(max(first, 0), high), min(max(last, low), high), step
