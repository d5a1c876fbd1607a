"""Gemm."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from ipuc.codelets.binary import BinaryOp
from ipuc.graph.ir import Graph, Node
from ipuc.ops.define import Op
from ipuc.ops.dense import matrix_product, product
from ipuc.ops.writer import GraphWriter
from ipuc.planner.context import Context
from ipuc.planner.elementwise import elementwise
from ipuc.program.tensor import Tensor


class Gemm(Op):
    """Y = alpha * A' @ B' + beta * C, where ' may transpose. Source: ONNX Gemm-13."""

    name: ClassVar[str] = "Gemm"

    def refuse(self, node: Node, graph: Graph) -> str | None:
        """Tiles multiply floating point matrices only."""
        kind = graph.types[node.inputs[0]]
        return None if kind.is_float else f"matrix products of {kind.dtype} are not supported"

    def gradient(
        self, write: GraphWriter, node: Node, upstream: Sequence[str], wanted: Sequence[bool]
    ) -> Sequence[str]:
        """Two products, by the factors and transpositions of the layer; a sum for the bias."""
        (a, b, *bias), (dy,) = node.inputs, upstream
        alpha = float(node.attributes.get("alpha", 1.0))
        turned = [int(node.attributes.get(name, 0)) for name in ("transA", "transB")]
        made = [""] * len(node.inputs)
        if wanted[0]:  # dA' = dY B'^T
            sides = (b, dy) if turned[0] else (dy, b)
            flags = (turned[1], 1) if turned[0] else (0, 1 - turned[1])
            made[0] = matrix_product(write, *sides, *flags, alpha)
        if wanted[1]:  # dB' = A'^T dY
            sides = (dy, a) if turned[1] else (a, dy)
            flags = (1, turned[0]) if turned[1] else (1 - turned[0], 0)
            made[1] = matrix_product(write, *sides, *flags, alpha)
        if any(wanted[2:]):
            beta = float(node.attributes.get("beta", 1.0))
            made[2] = write.scaled(write.sum_to(dy, write.shape(bias[0])), beta)
        return made

    def lower(self, ctx: Context, node: Node) -> None:
        """A product, scaled where alpha or beta is not 1, plus the bias."""
        a, b, *bias = ctx.inputs(node)
        (output,) = node.outputs
        if node.attributes.get("transA"):
            a = a.transpose((1, 0))
        if node.attributes.get("transB"):
            b = b.transpose((1, 0))
        alpha = float(node.attributes.get("alpha", 1.0))
        beta = float(node.attributes.get("beta", 1.0)) if bias else 0.0
        added = None
        if beta:
            added = bias[0] if beta == 1 else _scaled(ctx, bias[0], beta, f"{output} bias")
        if alpha == 1:
            made = product(ctx, a, b, output, added)
        else:
            made = product(ctx, a, b, f"{output} product")
            made = _scaled(ctx, made, alpha, f"{output} scaled" if beta else output)
            if added is not None:
                operands = {"a": made, "b": added}
                made = elementwise(ctx, BinaryOp("add"), operands, made.dtype, output)
        ctx.define(output, made)


def _scaled(ctx: Context, tensor: Tensor, factor: float, name: str) -> Tensor:
    operands = {"a": tensor, "b": ctx.scalar(factor, tensor.dtype)}
    made = elementwise(ctx, BinaryOp("mul"), operands, tensor.dtype, name)
    return ctx.builder.reshape(made, tensor.shape)
