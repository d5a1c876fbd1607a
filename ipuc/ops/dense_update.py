"""DenseUpdate: the gradient of a fully connected layer's weights and a step down it, in one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from ipuc.graph.ir import Node
from ipuc.ops.define import Example, Function
from ipuc.ops.dense import by_2017, product, update
from ipuc.ops.updating import descend, fixed_rate
from ipuc.planner.context import Context
from ipuc.planner.state import updated
from ipuc.types import TensorType


class DenseUpdate(Function):
    """new = w - rate / scale * (a' @ b'), where ' may transpose.

    What Gemm followed by SgdUpdate without decay is; attributes are theirs. One of a and b is the
    layer's input, the other the gradient of its output.
    Source: FullyConnectedWeightUpdate of PopLibs' public history of winter 2016/17.
    """

    name: ClassVar[str] = "DenseUpdate"
    body: ClassVar[str] = """
        <domain: "ai.ipuc", opset_import: ["" : 18]>
        DenseUpdate <transA, transB, rate> (w, a, b, scale) => (new) {
            gradient = Gemm <transA : int = @transA, transB : int = @transB> (a, b)
            r = Constant <value_float : float = @rate> ()
            by = CastLike (r, w)
            unit = CastLike (scale, w)
            plain = Div (gradient, unit)
            step = Mul (plain, by)
            new = Sub (w, step)
        }
    """

    def infer(self, node: Node, types: Sequence[TensorType | None]) -> list[TensorType]:
        """The new weights are like the old ones."""
        del node
        assert types[0] is not None
        return [types[0]]

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """Outputs by inputs, and inputs by outputs."""
        scale = np.asarray(4.0, np.float32)
        deltas, acts = TensorType("float32", (3, 7)), TensorType("float32", (3, 5))
        flags = {"transA": 1, "transB": 0, "rate": 0.25}
        rows, columns = TensorType("float32", (7, 5)), TensorType("float32", (5, 7))
        return (
            Example((rows, deltas, acts, scale), flags),
            Example((columns, acts, deltas, scale), flags),
        )

    def lower(self, ctx: Context, node: Node) -> None:
        """A product over the batch, then the step, in place."""
        name, (a, b) = node.outputs[0], (ctx.tensor(one) for one in node.inputs[1:3])
        if node.attributes["transA"]:
            a = a.transpose((1, 0))
        if node.attributes["transB"]:
            b = b.transpose((1, 0))
        weight, rate = updated(ctx, node, node.inputs[0], name), fixed_rate(ctx, node)
        if by_2017(ctx, a, b) and rate is not None:
            update(ctx, a, b, weight, rate, name)
        else:
            made = product(ctx, a, b, f"{name} gradient")
            descend(ctx, node, weight, made)
        ctx.define(name, weight)
