"""ConvUpdate: the gradient of a convolution's weights and a step down it, in one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

import numpy as np

from ipuc.graph.ir import Node
from ipuc.ops.conv_weight_grad import ConvWeightGrad
from ipuc.ops.convolving import Convolution
from ipuc.ops.define import Example, Function
from ipuc.ops.updating import descend, fixed_rate
from ipuc.planner.context import Context
from ipuc.planner.convolution import convolve_weight_gradient
from ipuc.planner.state import updated
from ipuc.planner.worker.conv_weight_update import weight_update
from ipuc.types import TensorType

_SIGNATURE = "ConvWeightGrad <group, kernel_shape, strides, dilations, pads> (x, dy) => (dw) {"


class ConvUpdate(Function):
    """new = w - rate / scale * the gradient of a convolution's weights.

    What ConvWeightGrad followed by SgdUpdate without decay is; attributes are theirs.
    Source: PopLibs' public history of winter 2016/17, whose weight update adds the scaled
    gradient to the weights where they lie.
    """

    name: ClassVar[str] = "ConvUpdate"
    outlined: ClassVar[bool] = True
    body: ClassVar[str] = (
        ConvWeightGrad.body.rstrip()
        .removesuffix("}")
        .replace(
            _SIGNATURE,
            "ConvUpdate <group, kernel_shape, strides, dilations, pads, rate> "
            "(w, x, dy, scale) => (new) {",
        )
        + """
            r = Constant <value_float : float = @rate> ()
            by = CastLike (r, w)
            unit = CastLike (scale, w)
            plain = Div (dw, unit)
            step = Mul (plain, by)
            new = Sub (w, step)
        }
    """
    )

    def infer(self, node: Node, types: Sequence[TensorType | None]) -> list[TensorType]:
        """The new weights are like the old ones."""
        del node
        assert types[0] is not None
        return [types[0]]

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """Those of the gradient, with weights and a scale."""
        made = []
        for example in ConvWeightGrad.examples():
            x, dy = example.inputs
            assert isinstance(x, TensorType)
            assert isinstance(dy, TensorType)
            kernel = tuple(example.attributes["kernel_shape"])
            ins = x.shape[1] // example.attributes["group"]
            w = TensorType("float32", (dy.shape[1], ins, *kernel))
            scale = np.asarray(4.0, np.float32)
            attributes = {**example.attributes, "rate": 0.25}
            made.append(replace(example, inputs=(w, x, dy, scale), attributes=attributes))
        return tuple(made)

    def lower(self, ctx: Context, node: Node) -> None:
        """A convolution over the batch, then the step, in place."""
        name, (x, dy) = node.outputs[0], (ctx.tensor(one) for one in node.inputs[1:3])
        weight = updated(ctx, node, node.inputs[0], name)
        whole = Convolution.of(node, x.shape, weight.shape, dy.shape)
        data, arriving = whole.apart_data(ctx, x), whole.apart_result(ctx, dy)
        rate = fixed_rate(ctx, node)
        if ctx.granularity == "worker" and rate is not None:
            apart = whole.apart_weights(ctx, weight)
            weight_update(ctx, whole.problem, data, arriving, apart, rate, name)
        else:
            label = f"{name} gradient"
            made = convolve_weight_gradient(ctx, whole.problem, data, arriving, label)
            descend(ctx, node, weight, ctx.builder.reshape(made, weight.shape))
        ctx.define(name, weight)
