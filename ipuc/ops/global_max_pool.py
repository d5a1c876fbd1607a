"""GlobalMaxPool."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

from ipuc.graph.ir import Node
from ipuc.ops.define import Op
from ipuc.ops.reducing import plain
from ipuc.ops.writer import GraphWriter
from ipuc.planner.context import Context


class GlobalMaxPool(Op):
    """The greatest over all axes behind batch and channel. Source: ONNX GlobalMaxPool-22."""

    name: ClassVar[str] = "GlobalMaxPool"

    def gradient(
        self, write: GraphWriter, node: Node, upstream: Sequence[str], wanted: Sequence[bool]
    ) -> Sequence[str]:
        """The first of the greatest elements gets it, as in torch's adaptive pooling."""
        del wanted
        shape = write.shape(node.inputs[0])
        rows = (*shape[:2], math.prod(shape[2:]))
        mark = write.op("Hardmax", write.reshaped(node.inputs[0], rows), axis=2)
        return [write.mul(write.reshaped(mark, shape), upstream[0])]

    def lower(self, ctx: Context, node: Node) -> None:
        """One reduction."""
        x = ctx.tensor(node.inputs[0])
        (output,) = node.outputs
        axes = range(2, len(x.shape))
        made = plain(ctx, "max", x, axes, output)
        ctx.define(output, made)
