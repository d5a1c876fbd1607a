"""Tile."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from ipuc.graph.ir import Node
from ipuc.ops.define import Op
from ipuc.ops.shaping import integers, settings
from ipuc.ops.writer import GraphWriter
from ipuc.planner.context import Context
from ipuc.program.tensor import Tensor, concat

#: A tensor of several pieces that is repeated more often than this is copied together first.
MAX_REPEATS = 16


class Tile(Op):
    """Repeat a tensor along its axes. Source: ONNX Tile-13."""

    name: ClassVar[str] = "Tile"
    shape_inputs: ClassVar[tuple[int, ...]] = (1,)

    def gradient(
        self, write: GraphWriter, node: Node, upstream: Sequence[str], wanted: Sequence[bool]
    ) -> Sequence[str]:
        """Gradients of all copies, added: copies become an axis of their own."""
        del wanted
        shape = write.shape(node.inputs[0])
        split: list[int] = []
        copies: list[int] = []
        for times, extent in zip(
            settings(write.known, node, 1, "repeats") or [], shape, strict=True
        ):
            if times != 1:
                copies.append(len(split))
                split.append(times)
            split.append(extent)
        apart = write.reshaped(upstream[0], tuple(split))
        return [write.reduced(apart, copies, keep=False), ""]

    def lower(self, ctx: Context, node: Node) -> None:
        """A view: a new axis of stride 0, merged with the one it repeats."""
        x = ctx.tensor(node.inputs[0])
        for axis, times in enumerate(integers(ctx, node, 1, "repeats") or []):
            if times != 1:
                x = _repeated(ctx, x, axis, times, node.outputs[0])
        ctx.define(node.outputs[0], x)


def _repeated(ctx: Context, x: Tensor, axis: int, times: int, name: str) -> Tensor:
    before, extent, after = x.shape[:axis], x.shape[axis], x.shape[axis + 1 :]
    if len(x.pieces) > 1 and 1 <= times <= MAX_REPEATS:
        return concat([x] * times, axis)
    split = x.reshape((*before, 1, extent, *after))
    assert split is not None  # an axis of extent 1 fits anywhere
    repeated = split.expand((*before, times, extent, *after))
    return ctx.builder.reshape(repeated, (*before, times * extent, *after), name)
