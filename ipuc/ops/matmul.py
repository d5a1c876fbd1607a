"""MatMul."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from ipuc.graph.ir import Graph, Node
from ipuc.ops.define import Op
from ipuc.ops.dense import matrix_product, product
from ipuc.ops.writer import GraphWriter
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

    def gradient(
        self, write: GraphWriter, node: Node, upstream: Sequence[str], wanted: Sequence[bool]
    ) -> Sequence[str]:
        """Two products; a matrix on the right meets all rows of all batches at once."""
        (a, b), (dy,) = node.inputs, upstream
        first, second = write.shape(a), write.shape(b)
        made = ["", ""]
        if len(second) <= 2:
            depth, columns = second[0], math.prod(second[1:])
            rows = math.prod(first[:-1])
            arriving = write.reshaped(dy, (rows, columns))
            if wanted[0]:
                right = write.reshaped(b, (depth, columns))
                made[0] = matrix_product(write, arriving, right, 0, 1)
            if wanted[1]:
                left = write.reshaped(a, (rows, depth))
                made[1] = matrix_product(write, left, arriving, 1, 0)
        else:
            left = write.reshaped(a, (1, *first)) if len(first) == 1 else a
            sizes = (write.shape(left)[-2], second[-1])
            batch = np.broadcast_shapes(write.shape(left)[:-2], second[:-2])
            arriving = write.reshaped(dy, (*batch, *sizes))
            if wanted[0]:
                whole = write.op("MatMul", arriving, _turned(write, b))
                made[0] = write.sum_to(whole, write.shape(left))
            if wanted[1]:
                whole = write.op("MatMul", _turned(write, left), arriving)
                made[1] = write.sum_to(whole, second)
        return [
            write.reshaped(one, shape) if one else ""
            for one, shape in zip(made, (first, second), strict=True)
        ]

    def lower(self, ctx: Context, node: Node) -> None:
        """Partial products, and a reduction where the depth is split."""
        a, b = ctx.inputs(node)
        (output,) = node.outputs
        a = ctx.builder.reshape(a, (1, *a.shape)) if len(a.shape) == 1 else a
        b = ctx.builder.reshape(b, (*b.shape, 1)) if len(b.shape) == 1 else b
        batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
        if len(b.shape) == 2:
            # every batch meets the same right matrix: one product of all the rows
            a = ctx.builder.reshape(a, (math.prod(a.shape[:-1]), a.shape[-1]))
            made = product(ctx, a, b, output)
        else:
            a = a.expand((*batch, *a.shape[-2:]))
            b = b.expand((*batch, *b.shape[-2:]))
            made = multiply(ctx, a, b, output)
        ctx.define(output, ctx.builder.reshape(made, ctx.type(output).shape))


def _turned(write: GraphWriter, x: str) -> str:
    """X with its last two axes exchanged."""
    dims = len(write.shape(x))
    return write.transposed(x, [*range(dims - 2), dims - 1, dims - 2])
