"""MatMul."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from ipuc.graph.ir import Graph, Node
from ipuc.ops.define import Op
from ipuc.planner.context import Context
from ipuc.planner.product import multiply


class MatMul(Op):
    """Y = A @ B as numpy.matmul: any batch dimensions, vectors as rows and columns.

    Source: ONNX MatMul-13.
    """

    name: ClassVar[str] = "MatMul"

    def refuse(self, node: Node, graph: Graph) -> str | None:
        """Tiles multiply floating point matrices only."""
        kind = graph.types[node.inputs[0]]
        return None if kind.is_float else f"matrix products of {kind.dtype} are not supported"

    def lower(self, ctx: Context, node: Node) -> None:
        """Partial products, and a reduction where the depth is split."""
        a, b = ctx.inputs(node)
        (output,) = node.outputs
        a = ctx.builder.reshape(a, (1, *a.shape)) if len(a.shape) == 1 else a
        b = ctx.builder.reshape(b, (*b.shape, 1)) if len(b.shape) == 1 else b
        batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
        if batch and len(b.shape) == 2:
            # every batch meets the same right matrix: one product of all the rows
            a = ctx.builder.reshape(a, (int(np.prod(a.shape[:-1])), a.shape[-1]))
            made = multiply(ctx, a, b, output)
        else:
            a = a.expand((*batch, *a.shape[-2:]))
            b = b.expand((*batch, *b.shape[-2:]))
            made = multiply(ctx, a, b, output)
        ctx.define(output, ctx.builder.reshape(made, ctx.type(output).shape))
