"""What a convolution and its gradients have in common: one problem, seen from three sides."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from ipuc.codelets.binary import BinaryOp
from ipuc.graph.ir import Node
from ipuc.ops.windowed import slides_of
from ipuc.planner.context import Context
from ipuc.planner.conv_problem import Conv as Problem
from ipuc.planner.convolution import convolve
from ipuc.planner.elementwise import elementwise
from ipuc.planner.poplin.cost import Pass
from ipuc.program.tensor import Tensor
from ipuc.types import Shape


@dataclass(frozen=True, slots=True)
class Convolution:
    """The convolution of a Conv node or of one of its gradients.

    Attributes:
        problem: what the planner takes.
        data: shape of the input: [batch, channels, *field].
        weights: shape of the weights: [outs, ins of a group, *kernel].
        result: shape of the output: [batch, outs, *out].
    """

    problem: Problem
    data: Shape
    weights: Shape
    result: Shape

    def key(self, ctx: Context) -> Hashable:
        """What decides the vertices of a layer of this problem, beside the types of its operands.

        It does not say which pass it is: a backward convolution may be one that runs forward, too.
        """
        return "convolution", ctx.granularity, self.problem

    @classmethod
    def of(cls, node: Node, data: Shape, weights: Shape, result: Shape) -> Convolution:
        """Read groups, strides, dilations and padding from the node's attributes."""
        groups = int(node.attributes.get("group", 1))
        slides = slides_of(node, data[2:], weights[2:], result[2:])
        problem = Problem(data[0], groups, weights[0] // groups, weights[1], slides)
        return cls(problem, data, weights, result)

    def apart_data(self, ctx: Context, x: Tensor) -> Tensor:
        """The input by groups: [batch, groups, ins, *field]."""
        batch, _, *field = self.data
        return ctx.builder.reshape(x, (batch, self.problem.groups, self.problem.ins, *field))

    def apart_weights(self, ctx: Context, weights: Tensor) -> Tensor:
        """The weights by groups: [groups, outs, ins, *kernel]."""
        _, ins, *kernel = self.weights
        shape = (self.problem.groups, self.problem.outs, ins, *kernel)
        return ctx.builder.reshape(weights, shape)

    def apart_result(self, ctx: Context, y: Tensor) -> Tensor:
        """The output, or its gradient, by groups: [batch, groups, outs, *out]."""
        batch, _, *out = self.result
        return ctx.builder.reshape(y, (batch, self.problem.groups, self.problem.outs, *out))


def convolution(
    ctx: Context,
    whole: Convolution,
    operands: Sequence[Tensor],
    output: str,
    purpose: Pass = Pass.INFERENCE,
) -> Tensor:
    """Convolve, and add the bias per channel if there is one.

    Args:
        ctx: the lowering.
        whole: the problem, and shapes of the operands.
        operands: data, weights, and perhaps a bias.
        output: name of the result.
        purpose: the pass.

    Returns:
        A tensor of the result's shape.
    """
    x, weights, *bias = operands
    label = f"{output} sums" if bias else output
    data, kernels = whole.apart_data(ctx, x), whole.apart_weights(ctx, weights)
    made = convolve(ctx, whole.problem, data, kernels, label, purpose)
    made = ctx.builder.reshape(made, whole.result)
    if not bias:
        return made
    outs, _, *kernel = whole.weights
    column = ctx.builder.reshape(bias[0], (outs, *(1 for _ in kernel)))
    return elementwise(ctx, BinaryOp("add"), {"a": made, "b": column}, made.dtype, output)
