"""Gemm."""

from __future__ import annotations

from typing import ClassVar

from ipuc.codelets.binary import BinaryOp
from ipuc.graph.ir import Graph, Node
from ipuc.ops.define import Op
from ipuc.planner.context import Context
from ipuc.planner.elementwise import elementwise
from ipuc.planner.product import multiply
from ipuc.program.tensor import Tensor


class Gemm(Op):
    """Y = alpha * A' @ B' + beta * C, where ' may transpose. Source: ONNX Gemm-13."""

    name: ClassVar[str] = "Gemm"

    def refuse(self, node: Node, graph: Graph) -> str | None:
        """Tiles multiply floating point matrices only."""
        kind = graph.types[node.inputs[0]]
        return None if kind.is_float else f"matrix products of {kind.dtype} are not supported"

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
        last = output if alpha == 1 and beta == 0 else f"{output} product"
        made = multiply(ctx, a, b, last)
        if alpha != 1:
            made = _scaled(ctx, made, alpha, f"{output} scaled" if beta else output)
        if beta:
            c = bias[0] if beta == 1 else _scaled(ctx, bias[0], beta, f"{output} bias")
            made = elementwise(ctx, BinaryOp("add"), {"a": made, "b": c}, made.dtype, output)
        ctx.define(output, made)


def _scaled(ctx: Context, tensor: Tensor, factor: float, name: str) -> Tensor:
    operands = {"a": tensor, "b": ctx.scalar(factor, tensor.dtype)}
    made = elementwise(ctx, BinaryOp("mul"), operands, tensor.dtype, name)
    return ctx.builder.reshape(made, tensor.shape)
