"""MaxPoolGrad: the gradient of a max pooling."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from ipuc.graph.ir import Node
from ipuc.ops.convolving import group_wanted
from ipuc.ops.define import Example, Function
from ipuc.ops.windowed import slides_of
from ipuc.planner.context import Context
from ipuc.planner.pool_gradient import max_pool_gradient
from ipuc.planner.window import Slide
from ipuc.planner.worker import max_pool
from ipuc.program.tensor import Tensor
from ipuc.types import TensorType


class MaxPoolGrad(Function):
    """The gradient of a max pooling: each window gives its own to its first largest element.

    Attributes are the pooling's, padding in numbers. The result y is not needed to say what is
    meant, but vertices compare with it. Sums are in float32.
    Source: PopLibs popnn Pooling.cpp, poolInputGradient; the first of equals as in PyTorch.
    """

    name: ClassVar[str] = "MaxPoolGrad"
    body: ClassVar[str] = """
        <domain: "ai.ipuc", opset_import: ["" : 18]>
        MaxPoolGrad <kernel_shape, strides, dilations, pads> (x, y, dy) => (dx) {
            largest, places = MaxPool <
                kernel_shape : ints = @kernel_shape, strides : ints = @strides,
                dilations : ints = @dilations, pads : ints = @pads
            > (x)
            flat = Constant <value_ints = [-1]> ()
            indices = Reshape (places, flat)
            wide = Cast <to = 1> (dy)
            updates = Reshape (wide, flat)
            shape = Shape (x)
            count = Size (x)
            size = Reshape (count, flat)
            none = ConstantOfShape <value = float[1] {0.0}> (size)
            sums = ScatterElements <axis = 0, reduction = "add"> (none, indices, updates)
            field = Reshape (sums, shape)
            dx = CastLike (field, dy)
        }
    """

    def infer(self, node: Node, types: Sequence[TensorType | None]) -> list[TensorType]:
        """Of the shape of x."""
        del node
        x, _, dy = types
        assert x is not None
        assert dy is not None
        return [TensorType(dy.dtype, x.shape)]

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """The result must be the pooling's; all are equal here, so the first is wanted."""
        ones = np.ones((1, 3, 5, 4), np.float32)
        attributes = {
            "kernel_shape": [3, 2],
            "strides": [2, 1],
            "dilations": [1, 2],
            "pads": [1, 0, 0, 1],
        }
        return (
            Example((ones, ones[:, :, :2, :3], TensorType("float32", (1, 3, 2, 3))), attributes),
        )

    def lower(self, ctx: Context, node: Node) -> None:
        """A vertex compares and gathers."""
        x, y, dy = ctx.inputs(node)
        (output,) = node.outputs
        kernel = tuple(int(k) for k in node.attributes["kernel_shape"])
        slides = slides_of(node, x.shape[2:], kernel, y.shape[2:])
        if ctx.granularity == "worker" and x.size and max_pool.reached(slides, x.dtype):
            group, places = group_wanted(ctx, output), self._places(ctx, node, x, slides)
            made = max_pool.max_pool_gradient(ctx, places, dy, slides, group, output)
            ctx.define(output, made)
            return
        ctx.define(output, max_pool_gradient(ctx, x, y, dy, slides, output))

    @staticmethod
    def _places(ctx: Context, node: Node, x: Tensor, slides: Sequence[Slide]) -> Tensor:
        """Where the largest elements stand: as the forward pass found it, or found again."""
        ipu, kept = ctx.plans.get(("places", node.inputs[1]), (None, None))
        if kept is None or ipu != ctx.builder.ipu:
            group, name = group_wanted(ctx, node.inputs[1]), f"{node.outputs[0]} windows"
            _, kept = max_pool.max_pool(ctx, x, slides, group, name, places=True)
        assert isinstance(kept, Tensor)
        return kept
