"""GlobalAveragePool."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

from ipuc.graph.ir import Node
from ipuc.ops.define import Op
from ipuc.ops.reducing import mean
from ipuc.ops.writer import GraphWriter
from ipuc.planner.context import Context


class GlobalAveragePool(Op):
    """The mean over all axes behind batch and channel. Source: ONNX GlobalAveragePool-22."""

    name: ClassVar[str] = "GlobalAveragePool"

    def gradient(
        self, write: GraphWriter, node: Node, upstream: Sequence[str], wanted: Sequence[bool]
    ) -> Sequence[str]:
        """Shared out over all positions."""
        del wanted
        shape = write.shape(node.inputs[0])
        share = write.scaled(upstream[0], 1 / max(math.prod(shape[2:]), 1))
        return [write.expanded(share, shape)]

    def lower(self, ctx: Context, node: Node) -> None:
        """A sum, scaled."""
        x = ctx.tensor(node.inputs[0])
        (output,) = node.outputs
        axes = range(2, len(x.shape))
        made = mean(ctx, x, axes, output, x.dtype)
        ctx.define(output, made)
