"""Clip."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np

from ipuc.codelets.clamp import Clamp
from ipuc.graph.ir import Node
from ipuc.ops.binary import binary
from ipuc.ops.define import Op
from ipuc.ops.unary import unary
from ipuc.planner.context import Context
from ipuc.planner.elementwise import elementwise
from ipuc.program.tensor import Tensor
from ipuc.types import device_dtype, to_device

Bound = float | Tensor | None


class Clip(Op):
    """Hold elements between two bounds; either may be absent. Source: ONNX Clip-6, Clip-13.

    Bounds known at compile time are part of the codelet; others are data.
    """

    name: ClassVar[str] = "Clip"

    def lower(self, ctx: Context, node: Node) -> None:
        """One compute set, or none if there is no bound."""
        x = ctx.tensor(node.inputs[0])
        (output,) = node.outputs
        low = _bound(ctx, node, 1, "min")
        high = _bound(ctx, node, 2, "max")
        made = x
        if isinstance(low, float) and isinstance(high, float):
            made = unary(ctx, "clip", x, output, low, high, over=("x",))
        elif low is not None and high is not None:
            operands = {"x": x, "low": _tensor(ctx, low, x), "high": _tensor(ctx, high, x)}
            made = elementwise(ctx, Clamp(), operands, x.dtype, output, ("x",))
        elif isinstance(low, float):
            made = unary(ctx, "at_least", x, output, low, over=("x",))
        elif isinstance(high, float):
            made = unary(ctx, "at_most", x, output, high, over=("x",))
        elif low is not None:
            made = binary(ctx, "max", x, low, output, over=("a",))
        elif high is not None:
            made = binary(ctx, "min", x, high, output, over=("a",))
        ctx.define(output, made)


def _bound(ctx: Context, node: Node, position: int, attribute: str) -> Bound:
    """A bound as a number, as a tensor, or None; one that tiles cannot pass is no bound."""
    low = attribute == "min"
    if node.opset < 11:
        given = node.attributes.get(attribute)
    elif position < len(node.inputs) and node.inputs[position]:
        name = node.inputs[position]
        known = ctx.constant(name)
        if known is None:
            return ctx.tensor(name)
        given = known.item()
        if known.dtype.kind in "iu":
            limits = np.iinfo(device_dtype(known.dtype.name))
            if given <= limits.min if low else given >= limits.max:
                return None  # the least or greatest int64 is how exporters write "no bound"
            to_device(known, node.where())
    else:
        return None
    endless = -math.inf if low else math.inf
    return None if given is None or given == endless else float(given)


def _tensor(ctx: Context, bound: float | Tensor, x: Tensor) -> Tensor:
    return bound if isinstance(bound, Tensor) else ctx.scalar(bound, x.dtype)
