"""AdamUpdate: one step of Adam or AdamW on one weight."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from ipuc.codelets.adam_step import AdamStep
from ipuc.graph.ir import Node
from ipuc.ops.define import Example, Function
from ipuc.planner.context import Context
from ipuc.planner.optimizer_step import slot, step_in_place
from ipuc.planner.state import updated
from ipuc.types import TensorType


class AdamUpdate(Function):
    """Moments move towards gradient and square, the weight by their quotient.

    g' = gradient * factors[0] + pull * w; m' = m + share1 * (g' - m);
    v' = v + share2 * (g' * g' - v);
    w' = keep * w - factors[1] * m' / (sqrt(v') * factors[2] + eps), factors from AdamFactors.
    The moments are float32 whatever the weight is. Where go is 0 nothing changes.
    Source: PyTorch Adam (weight decay is `pull`) and AdamW (`keep`).
    """

    name: ClassVar[str] = "AdamUpdate"
    body: ClassVar[str] = """
        <domain: "ai.ipuc", opset_import: ["" : 18]>
        AdamUpdate <share1, share2, eps, pull, keep> (w, m, v, gradient, factors, go)
            => (new, first, second) {
            s1 = Constant <value_float : float = @share1> ()
            s2 = Constant <value_float : float = @share2> ()
            least = Constant <value_float : float = @eps> ()
            pulls = Constant <value_float : float = @pull> ()
            keeps = Constant <value_float : float = @keep> ()
            zero = Constant <value = float {0.0}> ()
            moves = Greater (go, zero)
            unit, rate, spread = Split <axis = 0, num_outputs = 3> (factors)
            full = Cast <to = 1> (w)
            given = Cast <to = 1> (gradient)
            plain = Mul (given, unit)
            shrink = Mul (full, pulls)
            pulled = Add (plain, shrink)
            off = Sub (pulled, m)
            step1 = Mul (off, s1)
            m1 = Add (m, step1)
            squares = Mul (pulled, pulled)
            far = Sub (squares, v)
            step2 = Mul (far, s2)
            v1 = Add (v, step2)
            root = Sqrt (v1)
            size = Mul (root, spread)
            below = Add (size, least)
            quotient = Div (m1, below)
            down = Mul (quotient, rate)
            kept = Mul (full, keeps)
            there = Sub (kept, down)
            like = CastLike (there, w)
            new = Where (moves, like, w)
            first = Where (moves, m1, m)
            second = Where (moves, v1, v)
        }
    """

    def infer(self, node: Node, types: Sequence[TensorType | None]) -> list[TensorType]:
        """The new weight and moments are like the old ones."""
        del node
        found = [kind for kind in types[:3] if kind is not None]
        assert len(found) == 3
        return found

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """Adam, AdamW, and a step that must not happen."""
        kind = TensorType("float32", (6, 5))
        squares = np.linspace(0.25, 2, 30, dtype=np.float32).reshape(6, 5)
        factors = np.asarray([0.25, 0.125, 1.5], np.float32)
        yes, no = np.asarray(1.0, np.float32), np.asarray(0.0, np.float32)
        numbers = {"share1": 0.1, "share2": 0.01, "eps": 1e-3}
        inputs = (kind, kind, squares, kind, factors)
        return (
            Example((*inputs, yes), {**numbers, "pull": 0.01, "keep": 1.0}),
            Example((*inputs, yes), {**numbers, "pull": 0.0, "keep": 0.75}),
            Example((*inputs, no), {**numbers, "pull": 0.01, "keep": 1.0}),
        )

    def lower(self, ctx: Context, node: Node) -> None:
        """One pass, in place where weight and moments are the program's state."""
        w, m, v, gradient, factors, go = node.inputs
        new, *moments = node.outputs
        given = ctx.tensor(gradient)
        weight = updated(ctx, node, w, new)
        first, second = (
            slot(ctx, node, old, made, weight) for old, made in zip((m, v), moments, strict=True)
        )
        numbers = [float(node.attributes[k]) for k in ("share1", "share2", "eps", "pull", "keep")]
        step_in_place(
            ctx,
            AdamStep(*numbers),
            {"w": weight, "m": first, "v": second},
            given,
            {"factors": ctx.builder.solid(ctx.lies(factors)), "go": ctx.wide(go)},
            new,
        )
        ctx.define(new, weight)
        for name, tensor in zip(moments, (first, second), strict=True):
            ctx.define(name, tensor, wide=True)
