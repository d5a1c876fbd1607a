"""Gather."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from ipuc.errors import ShapeError
from ipuc.graph.ir import Node
from ipuc.ops.define import Op
from ipuc.ops.gather_grad import add_slices
from ipuc.ops.shaping import axis_of
from ipuc.ops.writer import GraphWriter
from ipuc.planner.context import Context
from ipuc.planner.gathering import look_up, pick, positions
from ipuc.planner.views import progressions, take
from ipuc.program.tensor import Tensor
from ipuc.types import Ints

#: Constant indices that make at most this many arithmetic progressions are a view.
MAX_PROGRESSIONS = 16


class Gather(Op):
    """Pick slices of one axis by index; a negative index counts from the end.

    Source: ONNX Gather-13.
    """

    name: ClassVar[str] = "Gather"

    def gradient(
        self, write: GraphWriter, node: Node, upstream: Sequence[str], wanted: Sequence[bool]
    ) -> Sequence[str]:
        """Each slice's gradient is added where it was picked."""
        del wanted
        x, indices = node.inputs
        shape = write.shape(x)
        axis = axis_of(node, len(shape))
        return [add_slices(write, upstream[0], axis, indices, shape[axis]), ""]

    def lower(self, ctx: Context, node: Node) -> None:
        """A view, or one vertex per slice, or vertices that read the indices when they run."""
        x = ctx.tensor(node.inputs[0])
        (output,) = node.outputs
        axis = axis_of(node, len(x.shape))
        shape = ctx.type(output).shape
        known = ctx.constant(node.inputs[1])
        if known is None:
            if not x.shape[axis] and ctx.type(output).size:
                raise ShapeError("it picks from an axis of extent 0", where=node.where())
            made = look_up(ctx, x, axis, ctx.tensor(node.inputs[1]), output)
        else:
            made = _pick_known(ctx, x, axis, positions(known, x.shape[axis], node.where()), output)
        ctx.define(output, ctx.builder.reshape(made, shape, output))


def _pick_known(ctx: Context, x: Tensor, axis: int, indices: Ints, name: str) -> Tensor:
    if len(progressions(indices)) <= MAX_PROGRESSIONS:
        return take(x, axis, indices)
    return pick(ctx, x, axis, indices, name)
