"""Softmax."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from ipuc.graph.ir import Node
from ipuc.ops.binary import binary
from ipuc.ops.define import Op
from ipuc.ops.reducing import wide
from ipuc.ops.unary import unary
from ipuc.ops.writer import GraphWriter
from ipuc.planner.context import Context
from ipuc.planner.reduction import reduce
from ipuc.program.tensor import Tensor


def softmax_axes(node: Node, rank: int) -> list[int]:
    """Axes that are normalised together.

    Before operator set 13 the input counts as a matrix: all axes from `axis` on are its rows.
    """
    if node.opset < 13:
        return list(range(int(node.attributes.get("axis", 1)) % max(rank, 1), rank))
    return [int(node.attributes.get("axis", -1)) % rank] if rank else []


def exponentials(
    ctx: Context, x: Tensor, axes: list[int], name: str, *, keep: bool = False
) -> tuple[Tensor, Tensor, Tensor]:
    """Shift the greatest element to 0: (shifted elements, their exponentials, and the sums).

    Halves become float32 here, so that they are rounded once, in the result. The exponentials may
    take the place of the shifted elements unless those are to be kept.
    """
    greatest = reduce(ctx, "max", x, axes, f"{name} max")
    shifted = binary(ctx, "sub", x, greatest, f"{name} shifted", wide(x.dtype), over=("a",))
    powers = unary(ctx, "exp", shifted, f"{name} exp", over=() if keep else ("x",))
    return shifted, powers, reduce(ctx, "sum", powers, axes, f"{name} sum")


class Softmax(Op):
    """Y = e ** x / the sum of e ** x along an axis. Source: ONNX Softmax-11, Softmax-13."""

    name: ClassVar[str] = "Softmax"

    def gradient(
        self, write: GraphWriter, node: Node, upstream: Sequence[str], wanted: Sequence[bool]
    ) -> Sequence[str]:
        """A function of ours, from the result alone."""
        del wanted
        axes = softmax_axes(node, len(write.shape(node.inputs[0])))
        return [write.own("SoftmaxGrad", node.outputs[0], upstream[0], axes=axes)]

    def lower(self, ctx: Context, node: Node) -> None:
        """Greatest element, subtract, exp, sum, divide (PopLibs popnn NonLinearity.cpp)."""
        x, (output,) = ctx.tensor(node.inputs[0]), node.outputs
        axes = softmax_axes(node, len(x.shape))
        _, powers, total = exponentials(ctx, x, axes, output)
        ctx.define(output, binary(ctx, "div", powers, total, output, x.dtype, over=("a",)))
