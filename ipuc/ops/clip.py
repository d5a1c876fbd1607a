"""Clip."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from ipuc.codelets.clamp import Clamp
from ipuc.graph.ir import Node
from ipuc.ops.binary import binary
from ipuc.ops.define import Op
from ipuc.ops.terms import Term
from ipuc.ops.unary import unary
from ipuc.ops.writer import GraphWriter
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

    def gradient(
        self, write: GraphWriter, node: Node, upstream: Sequence[str], wanted: Sequence[bool]
    ) -> Sequence[str]:
        """It passes between the bounds and at them, else to the bound that holds, as in PyTorch."""
        x, dy = Term(write, node.inputs[0]), Term(write, upstream[0])
        low, high = (_bound_term(write, node, x, at) for at in (1, 2))
        made = [""] * len(node.inputs)
        if wanted[0]:
            inside = dy
            inside = inside if low is None else inside.where(x >= low)
            made[0] = (inside if high is None else inside.where(x <= high)).name
        # A bound that lies beyond the other does not hold, or holds alone: the upper one is last.
        if low is not None and any(wanted[1:2]):
            holds = x < low
            made[1] = dy.where(holds if high is None else holds & (low <= high)).to(())
        if high is not None and any(wanted[2:3]):
            holds = x > high
            made[2] = dy.where(holds if low is None else holds | (low > high)).to(())
        return made

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


def _bound_term(write: GraphWriter, node: Node, x: Term, position: int) -> Term | None:
    """A bound as a value; None if there is none."""
    if node.opset < 11:
        given = node.attributes.get(("min", "max")[position - 1])
        return None if given is None else Term(write, write.scalar(given, x.name))
    name = node.inputs[position] if position < len(node.inputs) else ""
    return Term(write, name) if name else None
