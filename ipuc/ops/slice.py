"""Slice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from numpy.typing import NDArray

from ipuc.graph.ir import Node
from ipuc.ops.define import Op
from ipuc.ops.shaping import settings
from ipuc.ops.writer import GraphWriter
from ipuc.planner.context import Context


class Slice(Op):
    """Take every k-th index of some axes, forwards or backwards, clamped as ONNX says.

    Source: ONNX Slice-1 (attributes), Slice-10 and newer (inputs).
    """

    name: ClassVar[str] = "Slice"
    shape_inputs: ClassVar[tuple[int, ...]] = (1, 2, 3, 4)

    def gradient(
        self, write: GraphWriter, node: Node, upstream: Sequence[str], wanted: Sequence[bool]
    ) -> Sequence[str]:
        """Zeros around what was taken, and between it; what was taken backwards is turned."""
        del wanted
        x, *others = node.inputs
        shape, taken = write.shape(x), upstream[0]
        if not write.type(taken).size:
            return [""] * len(node.inputs)
        ends: dict[int, tuple[int, int]] = {}
        for axis, start, end, step in _ranges(write.known, node, len(shape)):
            begin, _, stride = _clamped(start, end, step, shape[axis])
            count = write.shape(upstream[0])[axis]
            if stride < 0:
                begin, stride = begin + stride * (count - 1), -stride
                turn = (write.integers([i]) for i in (-1, -shape[axis] - 1, axis, -1))
                taken = write.op("Slice", taken, *turn)
            if stride > 1:
                taken = _spread(write, taken, axis, stride)
            ends[axis] = (begin, shape[axis] - begin - write.shape(taken)[axis])
        return [write.padded(taken, ends), *("" for _ in others)]

    def lower(self, ctx: Context, node: Node) -> None:
        """A view, with a stride for each axis."""
        x = ctx.tensor(node.inputs[0])
        for axis, start, end, step in _ranges(ctx.constant, node, len(x.shape)):
            x = x.slice(axis, *_clamped(start, end, step, x.shape[axis]))
        ctx.define(node.outputs[0], x)


def _ranges(
    known: Callable[[str], NDArray[Any] | None], node: Node, rank: int
) -> list[tuple[int, int, int, int]]:
    """What the node takes: (axis, start, end, step) as it says them, axes from the front."""
    starts = settings(known, node, 1, "starts") or []
    ends = settings(known, node, 2, "ends") or []
    axes = settings(known, node, 3, "axes") or range(len(starts))
    steps = settings(known, node, 4, "steps") or [1] * len(starts)
    where = [axis % rank for axis in axes]
    return list(zip(where, starts, ends, steps, strict=True))


def _spread(write: GraphWriter, x: str, axis: int, stride: int) -> str:
    """Put stride - 1 zeros between the positions of an axis."""
    shape = write.shape(x)
    apart = write.reshaped(x, (*shape[: axis + 1], 1, *shape[axis + 1 :]))
    spread = write.padded(apart, {axis + 1: (0, stride - 1)})
    merged = write.reshaped(spread, (*shape[:axis], shape[axis] * stride, *shape[axis + 1 :]))
    return write.part(merged, axis, 0, shape[axis] * stride - stride + 1)


def _clamped(start: int, end: int, step: int, extent: int) -> tuple[int, int, int]:
    """Hold begin and end to the axis.

    It differs from Python in one case: a backward slice that begins before the first element
    begins at it.
    """
    low, high = (0, extent) if step > 0 else (-1, extent - 1)
    first = start + extent if start < 0 else start
    last = end + extent if end < 0 else end
    return min(max(first, 0), high), min(max(last, low), high), step
