"""MomentumUpdate: one step of gradient descent with momentum on one weight."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from ipuc.codelets.momentum_step import MomentumStep
from ipuc.graph.ir import Node
from ipuc.ops.define import Example, Function
from ipuc.ops.updating import inverse
from ipuc.planner.context import Context
from ipuc.planner.optimizer_step import slot, step_in_place
from ipuc.planner.state import updated
from ipuc.types import TensorType


class MomentumUpdate(Function):
    """v' = momentum * v + gradient / scale + decay * w; w' = w - rate * v'.

    The velocity v is float32 whatever the weight is. Where go is 0 nothing changes.
    Source: PyTorch SGD with momentum, without dampening; the gradient comes times the loss scale.
    """

    name: ClassVar[str] = "MomentumUpdate"
    body: ClassVar[str] = """
        <domain: "ai.ipuc", opset_import: ["" : 18]>
        MomentumUpdate <rate, momentum, decay> (w, v, gradient, scale, go) => (new, moved) {
            r = Constant <value_float : float = @rate> ()
            kept = Constant <value_float : float = @momentum> ()
            d = Constant <value_float : float = @decay> ()
            zero = Constant <value = float {0.0}> ()
            moves = Greater (go, zero)
            full = Cast <to = 1> (w)
            given = Cast <to = 1> (gradient)
            plain = Div (given, scale)
            shrink = Mul (full, d)
            pulled = Add (plain, shrink)
            slowed = Mul (v, kept)
            faster = Add (pulled, slowed)
            step = Mul (faster, r)
            there = Sub (full, step)
            like = CastLike (there, w)
            new = Where (moves, like, w)
            moved = Where (moves, faster, v)
        }
    """

    def infer(self, node: Node, types: Sequence[TensorType | None]) -> list[TensorType]:
        """The new weight and velocity are like the old ones."""
        del node
        assert types[0] is not None
        assert types[1] is not None
        return [types[0], types[1]]

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """A step with decay, one without, and one that must not happen."""
        kind, scale = TensorType("float32", (6, 5)), np.asarray(4.0, np.float32)
        yes, no = np.asarray(1.0, np.float32), np.asarray(0.0, np.float32)
        numbers = {"rate": 0.1, "momentum": 0.9}
        return (
            Example((kind, kind, kind, scale, yes), {**numbers, "decay": 0.0}),
            Example((kind, kind, kind, scale, yes), {**numbers, "decay": 0.01}),
            Example((kind, kind, kind, scale, no), {**numbers, "decay": 0.01}),
        )

    def lower(self, ctx: Context, node: Node) -> None:
        """One pass, in place where weight and velocity are the program's state."""
        w, v, gradient, scale, go = node.inputs
        new, moved = node.outputs
        given = ctx.tensor(gradient)
        weight = updated(ctx, node, w, new)
        velocity = slot(ctx, node, v, moved, weight)
        rate, momentum, decay = (
            float(node.attributes[name]) for name in ("rate", "momentum", "decay")
        )
        step_in_place(
            ctx,
            MomentumStep(rate, momentum, decay),
            {"w": weight, "v": velocity},
            given,
            {"unit": inverse(ctx, scale, f"{new} unit"), "go": ctx.wide(go)},
            new,
        )
        ctx.define(new, weight)
        ctx.define(moved, velocity, wide=True)
