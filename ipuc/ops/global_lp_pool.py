"""GlobalLpPool."""

from __future__ import annotations

from typing import ClassVar

from ipuc.graph.ir import Node
from ipuc.ops.define import Example, Op
from ipuc.ops.reducing import norm
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

    def lower(self, ctx: Context, node: Node) -> None:
        """Powers, their sum, and its root."""
        x = ctx.tensor(node.inputs[0])
        (output,) = node.outputs
        axes = range(2, len(x.shape))
        power = float(node.attributes.get("p", 2))
        made = norm(ctx, x, axes, power, output, x.dtype)
        ctx.define(output, made)
