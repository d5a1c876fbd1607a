"""DropoutGrad: the gradient of Dropout."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from ipuc.codelets.select import Select
from ipuc.graph.ir import Node
from ipuc.ops.define import Example, Function
from ipuc.ops.unary import unary
from ipuc.planner.context import Context
from ipuc.planner.elementwise import elementwise
from ipuc.types import TensorType


class DropoutGrad(Function):
    """The gradient of Dropout: that of the result times the scale where the mask is set, else 0.

    Source: ONNX Dropout-13.
    """

    name: ClassVar[str] = "DropoutGrad"
    body: ClassVar[str] = """
        <domain: "ai.ipuc", opset_import: ["" : 18]>
        DropoutGrad <scale> (dy, mask) => (dx) {
            zero = Constant <value = float {0.0}> ()
            factor = Constant <value_float : float = @scale> ()
            none = CastLike (zero, dy)
            wide = Cast <to = 1> (dy)
            scaled = Mul (wide, factor)
            whole = CastLike (scaled, dy)
            dx = Where (mask, whole, none)
        }
    """

    def infer(self, node: Node, types: Sequence[TensorType | None]) -> list[TensorType]:
        """The gradient has the type of what it belongs to."""
        del node
        assert types[0] is not None
        return [types[0]]

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """Every third element was dropped."""
        mask = np.arange(30).reshape(3, 5, 2) % 3 > 0
        return (Example((TensorType("float32", (3, 5, 2)), mask), {"scale": 1.5}),)

    def lower(self, ctx: Context, node: Node) -> None:
        """Scaled, then chosen."""
        dy, mask = ctx.inputs(node)
        (output,) = node.outputs
        scaled = unary(ctx, "scale", dy, f"{output} scaled", float(node.attributes["scale"]))
        operands = {"flag": mask, "a": scaled, "b": ctx.scalar(0.0, dy.dtype, dy.shape)}
        made = elementwise(ctx, Select(), operands, dy.dtype, output, ("a",))
        ctx.define(output, made)
