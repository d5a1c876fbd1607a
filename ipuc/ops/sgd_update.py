"""SgdUpdate: one step of stochastic gradient descent on one weight."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from ipuc.graph.ir import Node
from ipuc.ops.binary import binary
from ipuc.ops.define import Example, Function
from ipuc.ops.reducing import wide
from ipuc.ops.unary import unary
from ipuc.ops.updating import allowed, descend
from ipuc.planner.context import Context
from ipuc.planner.state import updated
from ipuc.types import TensorType


class SgdUpdate(Function):
    """new = w - rate * (gradient / scale + decay * w). Where go is 0, w stays.

    Source: PyTorch SGD without momentum; the gradient comes scaled by the loss scale.
    """

    name: ClassVar[str] = "SgdUpdate"
    body: ClassVar[str] = """
        <domain: "ai.ipuc", opset_import: ["" : 18]>
        SgdUpdate <rate, decay> (w, gradient, scale, go) => (new) {
            r = Constant <value_float : float = @rate> ()
            d = Constant <value_float : float = @decay> ()
            by = CastLike (r, w)
            shrink = CastLike (d, w)
            unit = CastLike (scale, w)
            plain = Div (gradient, unit)
            kept = Mul (w, shrink)
            full = Add (plain, kept)
            step = Mul (full, by)
            there = Sub (w, step)
            zero = Constant <value = float {0.0}> ()
            moves = Greater (go, zero)
            new = Where (moves, there, w)
        }
    """

    def infer(self, node: Node, types: Sequence[TensorType | None]) -> list[TensorType]:
        """The new weight is like the old one."""
        del node
        assert types[0] is not None
        return [types[0]]

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """With and without decay, and a step that must not happen."""
        kind, scale = TensorType("float32", (6, 5)), np.asarray(4.0, np.float32)
        yes, no = np.asarray(1.0, np.float32), np.asarray(0.0, np.float32)
        return (
            Example((kind, kind, scale, yes), {"rate": 0.1, "decay": 0.0}),
            Example((kind, kind, scale, yes), {"rate": 0.1, "decay": 0.01}),
            Example((kind, kind, scale, no), {"rate": 0.1, "decay": 0.01}),
        )

    def lower(self, ctx: Context, node: Node) -> None:
        """One pass over the weight, in place where it is the program's state."""
        w, gradient = (ctx.tensor(name) for name in node.inputs[:2])
        (output,) = node.outputs
        decay = float(node.attributes["decay"])
        if decay:
            unit = ctx.builder.reshape(ctx.wide(node.inputs[2]), tuple(1 for _ in w.shape))
            pull = unary(ctx, "scale", w, f"{output} decay", decay, dtype=wide(w.dtype))
            pull = binary(ctx, "mul", pull, unit, f"{output} scaled decay", over=("a",))
            gradient = binary(ctx, "add", pull, gradient, f"{output} gradient", over=("a",))
        gradient = allowed(ctx, gradient, node.inputs[3], f"{output} allowed")
        weight = updated(ctx, node, node.inputs[0], output)
        descend(ctx, node, weight, gradient, node.inputs[2])
        ctx.define(output, weight)
