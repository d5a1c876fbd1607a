"""Hardmax."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np

from ipuc.codelets.cast import Cast
from ipuc.codelets.select import Select
from ipuc.graph.ir import Node
from ipuc.ops.binary import binary
from ipuc.ops.define import Op
from ipuc.ops.softmax import softmax_axes
from ipuc.planner.context import Context
from ipuc.planner.elementwise import elementwise
from ipuc.planner.reduction import reduce


class Hardmax(Op):
    """Mark the first of the greatest elements along an axis with 1. Source: ONNX Hardmax-13."""

    name: ClassVar[str] = "Hardmax"
    flat: ClassVar[bool] = True

    def lower(self, ctx: Context, node: Node) -> None:
        """Of the positions where x is greatest, find the least, and mark it."""
        x, (output,) = ctx.tensor(node.inputs[0]), node.outputs
        axes = softmax_axes(node, len(x.shape))
        extents = tuple(n if a in axes else 1 for a, n in enumerate(x.shape))
        count = math.prod(extents)
        place = ctx.builder.constant(
            f"{output} places", np.arange(count, dtype=np.int32).reshape(extents)
        )
        greatest = reduce(ctx, "max", x, axes, f"{output} max")
        ties = binary(ctx, "eq", x, greatest, f"{output} ties", "bool")
        operands = {"flag": ties, "a": place, "b": ctx.scalar(count, "int32")}
        places = elementwise(ctx, Select(), operands, "int32", f"{output} ties' places")
        first = reduce(ctx, "min", places, axes, f"{output} first")
        mark = binary(ctx, "eq", place, first, f"{output} mark", "bool")
        made = elementwise(ctx, Cast("bool", x.dtype), {"x": mark}, x.dtype, output)
        ctx.define(output, made)
