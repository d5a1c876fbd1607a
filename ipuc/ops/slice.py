"""Slice."""

from __future__ import annotations

from typing import ClassVar

from ipuc.graph.ir import Node
from ipuc.ops.define import Op
from ipuc.ops.shaping import integers
from ipuc.planner.context import Context


class Slice(Op):
    """Take every k-th index of some axes, forwards or backwards, with Python's clamping.

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
            x = x.slice(where, *slice(start, end, step).indices(x.shape[where]))
        ctx.define(node.outputs[0], x)
