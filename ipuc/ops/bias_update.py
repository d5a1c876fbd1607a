"""BiasUpdate: the gradient of a bias and a step down it, in one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from ipuc.graph.ir import Node
from ipuc.ops.define import Example, Function
from ipuc.ops.reducing import wide
from ipuc.ops.updating import descend, fixed_rate
from ipuc.planner.context import Context
from ipuc.planner.reduction import reduce
from ipuc.planner.state import updated
from ipuc.planner.worker import dense
from ipuc.planner.worker.conv_bias import bias_update
from ipuc.types import TensorType


class BiasUpdate(Function):
    """new = b - rate / scale * dy summed over all axes but the channels.

    What ReduceSum followed by SgdUpdate without decay is.
    Source: PopLibs' public history of winter 2016/17, whose bias update is such a vertex.
    """

    name: ClassVar[str] = "BiasUpdate"
    body: ClassVar[str] = """
        <domain: "ai.ipuc", opset_import: ["" : 18]>
        BiasUpdate <rate> (b, dy, scale) => (new) {
            planes = Constant <value_ints = [0, 0, -1]> ()
            flat = Reshape (dy, planes)
            axes = Constant <value_ints = [0, 2]> ()
            gradient = ReduceSum <keepdims = 0> (flat, axes)
            r = Constant <value_float : float = @rate> ()
            by = CastLike (r, b)
            unit = CastLike (scale, b)
            plain = Div (gradient, unit)
            step = Mul (plain, by)
            new = Sub (b, step)
        }
    """

    def infer(self, node: Node, types: Sequence[TensorType | None]) -> list[TensorType]:
        """The new bias is like the old one."""
        del node
        assert types[0] is not None
        return [types[0]]

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """Of a convolution, and of a fully connected layer."""
        scale, bias = np.asarray(4.0, np.float32), TensorType("float32", (6,))
        return (
            Example((bias, TensorType("float32", (2, 6, 3, 5)), scale), {"rate": 0.25}),
            Example((bias, TensorType("float32", (4, 6)), scale), {"rate": 0.25}),
        )

    def lower(self, ctx: Context, node: Node) -> None:
        """A sum, then the step, in place."""
        name, dy = node.outputs[0], ctx.tensor(node.inputs[1])
        weight = updated(ctx, node, node.inputs[0], name)
        rate = fixed_rate(ctx, node)
        if ctx.granularity == "worker" and rate is not None and dy.size:
            # a fully connected layer has no field
            make = bias_update if len(dy.shape) > 2 else dense.bias_update
            make(ctx, dy, weight, rate, name)
        else:
            axes = [0, *range(2, len(dy.shape))]
            made = reduce(ctx, "sum", dy, axes, f"{name} gradient", dtype=wide(dy.dtype))
            descend(ctx, node, weight, ctx.builder.reshape(made, weight.shape))
        ctx.define(name, weight)
