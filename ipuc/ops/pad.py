"""Pad."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import numpy as np

from ipuc.graph.ir import Node
from ipuc.ops.define import Op
from ipuc.ops.shaping import integers
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

    def lower(self, ctx: Context, node: Node) -> None:
        """A view: constants are fills, the other modes are slices of the data."""
        x = ctx.tensor(node.inputs[0])
        rank = len(x.shape)
        pads = integers(ctx, node, 1, "pads") or []
        axes = integers(ctx, node, 3, "axes")
        axes = list(range(rank)) if axes is None else [a % rank for a in axes]
        mode = node.attributes.get("mode", "constant")
        constant = _constant(ctx, node, x.dtype)
        for axis, low, high in zip(axes, pads[: len(axes)], pads[len(axes) :], strict=True):
            extent = x.shape[axis]
            x = x.slice(axis, max(-low, 0), max(extent - max(-high, 0), -low, 0))
            low, high = max(low, 0), max(high, 0)  # noqa: PLW2901 - what is left to add
            if mode == "constant":
                shapes = [(*x.shape[:axis], n, *x.shape[axis + 1 :]) for n in (low, high)]
                x = concat([constant(shapes[0]), x, constant(shapes[1])], axis)
            elif low or high:
                order = np.pad(np.arange(x.shape[axis]), (low, high), mode=mode)
                x = take(x, axis, order)
        ctx.define(node.outputs[0], x)


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
