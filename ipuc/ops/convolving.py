"""What a convolution and its gradients have in common: one problem, seen from three sides."""

from __future__ import annotations

from dataclasses import dataclass

from ipuc.graph.ir import Node
from ipuc.ops.windowed import slides_of
from ipuc.planner.context import Context
from ipuc.planner.conv_problem import Conv as Problem
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
