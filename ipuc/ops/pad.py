"""Pad."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ipuc.graph.ir import Node
from ipuc.ops.define import Op
from ipuc.ops.gather_grad import add_slices
from ipuc.ops.shaping import settings
from ipuc.ops.writer import GraphWriter
from ipuc.planner.context import Context
from ipuc.planner.views import take
from ipuc.program.tensor import Tensor, concat, fill
from ipuc.types import Shape, to_device


class Pad(Op):
    """Add elements at both ends of axes; negative amounts remove some.

    Amounts and value are attributes before operator set 11. The value may be an input that only
    the run knows: it decides no shape. Source: ONNX Pad-2, Pad-11, Pad-25.
    """

    name: ClassVar[str] = "Pad"
    shape_inputs: ClassVar[tuple[int, ...]] = (1, 3)

    def gradient(
        self, write: GraphWriter, node: Node, upstream: Sequence[str], wanted: Sequence[bool]
    ) -> Sequence[str]:
        """Each element's gradient goes where the element came from: the data, or the value."""
        x, *others = node.inputs
        moved, borders = upstream[0], list[str]()
        mode = node.attributes.get("mode", "constant")
        valued = len(wanted) > 2 and wanted[2] and mode == "constant"
        for axis, low, high in _amounts(write.known, node, len(write.shape(x))):
            extent, padded = write.shape(x)[axis], write.shape(moved)[axis]
            begin, end = _kept(extent, low, high)
            first, last = max(low, 0), padded - max(high, 0)
            if mode == "constant":
                if valued:
                    cuts = ((0, first), (last, padded))
                    borders += [write.part(moved, axis, *cut) for cut in cuts if cut[0] < cut[1]]
                moved = write.part(moved, axis, first, last)
            elif last - first < padded:
                order = np.pad(np.arange(end - begin), (first, padded - last), mode=mode)
                moved = add_slices(write, moved, axis, write.integers(order), end - begin)
            if wanted[0]:
                moved = write.padded(moved, {axis: (begin, extent - end)})
        found = [moved if wanted[0] else "", *("" for _ in others)]
        if valued:
            found[2] = _total(write, borders, others[1])
        return found

    def lower(self, ctx: Context, node: Node) -> None:
        """A view: constants are fills, the other modes are slices of the data."""
        x = ctx.tensor(node.inputs[0])
        mode = node.attributes.get("mode", "constant")
        constant = _constant(ctx, node, x.dtype)
        for axis, low, high in _amounts(ctx.constant, node, len(x.shape)):
            x = x.slice(axis, *_kept(x.shape[axis], low, high))
            low, high = max(low, 0), max(high, 0)  # noqa: PLW2901 - what is left to add
            if mode == "constant":
                shapes = [(*x.shape[:axis], n, *x.shape[axis + 1 :]) for n in (low, high)]
                x = concat([constant(shapes[0]), x, constant(shapes[1])], axis)
            elif low or high:
                order = np.pad(np.arange(x.shape[axis]), (low, high), mode=mode)
                x = take(x, axis, order)
        ctx.define(node.outputs[0], x)


def _amounts(
    known: Callable[[str], NDArray[Any] | None], node: Node, rank: int
) -> list[tuple[int, int, int]]:
    """What is added to each axis: (axis, before, after)."""
    pads = settings(known, node, 1, "pads") or []
    axes = settings(known, node, 3, "axes")
    axes = list(range(rank)) if axes is None else [a % rank for a in axes]
    return list(zip(axes, pads[: len(axes)], pads[len(axes) :], strict=True))


def _kept(extent: int, low: int, high: int) -> tuple[int, int]:
    """Begin and end of what negative amounts leave of an axis."""
    return max(-low, 0), max(extent - max(-high, 0), -low, 0)


def _total(write: GraphWriter, parts: Sequence[str], like: str) -> str:
    """The sum of all elements of some tensors, in the shape of the value that they were."""
    sums = [write.op("ReduceSum", part, keepdims=0) for part in parts]
    if not sums:
        return ""
    return write.reshaped(write.op("Sum", *sums) if len(sums) > 1 else sums[0], write.shape(like))


def _constant(ctx: Context, node: Node, dtype: str) -> Callable[[Shape], Tensor]:
    """What is added: blocks of one value by shape."""
    if len(node.inputs) > 2 and node.inputs[2]:
        name = node.inputs[2]
        known = ctx.constant(name)
        if known is None:
            given = ctx.builder.reshape(ctx.tensor(name), ())
            return given.expand
        value = float(to_device(known, node.where()).reshape(()))
    else:
        value = float(node.attributes.get("value", 0.0))
    return lambda shape: fill(value, shape, dtype)
