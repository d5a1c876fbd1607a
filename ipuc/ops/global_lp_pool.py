"""GlobalLpPool."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from ipuc.graph.ir import Node
from ipuc.ops.define import Example, Op
from ipuc.ops.reducing import Reduced, norm, norm_slope
from ipuc.ops.writer import GraphWriter
from ipuc.planner.context import Context
from ipuc.types import TensorType


class GlobalLpPool(Op):
    """The p-norm over all axes behind batch and channel. Source: ONNX GlobalLpPool-22."""

    name: ClassVar[str] = "GlobalLpPool"

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """The default power on two field dimensions, another one on one."""
        return (
            Example((TensorType("float32", (2, 3, 5, 4)),)),
            Example((TensorType("float32", (3, 2, 7)),), {"p": 3}),
        )

    def gradient(
        self, write: GraphWriter, node: Node, upstream: Sequence[str], wanted: Sequence[bool]
    ) -> Sequence[str]:
        """As that of a norm of these axes."""
        del wanted
        x, power = node.inputs[0], float(node.attributes.get("p", 2))
        axes = range(2, len(write.shape(x)))
        return [norm_slope(Reduced(write, x, node.outputs[0], upstream[0], axes), power)]

    def lower(self, ctx: Context, node: Node) -> None:
        """Powers, their sum, and its root."""
        x = ctx.tensor(node.inputs[0])
        (output,) = node.outputs
        axes = range(2, len(x.shape))
        power = float(node.attributes.get("p", 2))
        made = norm(ctx, x, axes, power, output, x.dtype)
        ctx.define(output, made)
