"""What a convolution and its gradients have in common: one problem, seen from three sides."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ipuc.codelets.binary import BinaryOp
from ipuc.graph.ir import Graph, Node
from ipuc.ops.windowed import slides_of
from ipuc.planner.context import Context
from ipuc.planner.conv_problem import Conv as Problem
from ipuc.planner.conv_problem import data_gradient
from ipuc.planner.convolution import convolve
from ipuc.planner.elementwise import elementwise
from ipuc.planner.outlined import Outline
from ipuc.planner.poplin.cost import Pass
from ipuc.planner.worker.conv_forward import convolve2017
from ipuc.planner.worker.conv_plan import planned, reached
from ipuc.planner.worker.wanted import wanted_group
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

    def backward(self) -> Convolution:
        """The convolution that makes the gradient of the data from that of the result."""
        groups, channels = self.problem.groups, self.data[1]
        shape = (channels, self.result[1] // groups, *self.weights[2:])
        return Convolution(data_gradient(self.problem), self.result, shape, self.data)

    def turned(self, ctx: Context, weights: Tensor) -> Tensor:
        """The weights as `backward` reads them: channels exchanged, kernels turned round."""
        turned = self.apart_weights(ctx, weights)
        turned = turned.transpose((0, 2, 1, *range(3, len(turned.shape))))
        for axis in range(3, len(turned.shape)):
            turned = turned.slice(axis, turned.shape[axis] - 1, -1, -1)
        return ctx.builder.reshape(turned, self.backward().weights)

    def runs_with_bias(self, graph: Graph) -> bool:
        """Whether a Conv node of a graph is this very problem, and has a bias."""
        return any(
            node.op == "Conv"
            and not node.domain
            and len(node.inputs) > 2
            and Convolution.in_graph(graph, node).problem == self.problem
            for node in graph.nodes
        )

    @classmethod
    def in_graph(cls, graph: Graph, node: Node) -> Convolution:
        """The problem of a Conv node."""
        return cls.of(node, *(graph.types[v].shape for v in (*node.inputs[:2], *node.outputs)))

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
    group = _group(ctx, whole.problem, output)
    if group is not None:
        added = bias[0] if bias else None
        return convolve2017(ctx, whole.problem, x, weights, added, group, output)
    label = f"{output} sums" if bias else output
    data, kernels = whole.apart_data(ctx, x), whole.apart_weights(ctx, weights)
    made = convolve(ctx, whole.problem, data, kernels, label, purpose)
    made = ctx.builder.reshape(made, whole.result)
    if not bias:
        return made
    outs, _, *kernel = whole.weights
    column = ctx.builder.reshape(bias[0], (outs, *(1 for _ in kernel)))
    return elementwise(ctx, BinaryOp("add"), {"a": made, "b": column}, made.dtype, output)


def outlined_convolution(
    ctx: Context,
    whole: Convolution,
    operands: Callable[[], Sequence[Tensor]],
    output: str,
    purpose: Pass = Pass.INFERENCE,
    *,
    biased: bool,
) -> Outline:
    """Let a convolution share with all of its problem, whatever pass they belong to.

    Args:
        ctx: the lowering.
        whole: the problem, and shapes of the operands.
        operands: gives data, weights, and a bias if there is one.
        output: the value that is made.
        purpose: the pass.
        biased: whether there is a bias.
    """
    group = _group(ctx, whole.problem, output)
    return Outline(
        ("convolution", whole.problem, ctx.type(output).dtype, biased, group),
        operands,
        lambda stand_ins: [convolution(ctx, whole, stand_ins, output, purpose)],
        lambda: [None],
        lambda results: ctx.define(output, results[0]),
    )


def _group(ctx: Context, problem: Problem, output: str) -> int | None:
    """Channels of a result that lie together by the rules of 2017; None where others apply."""
    if ctx.granularity != "worker" or not reached(problem):
        return None
    return group_wanted(ctx, output)


def group_wanted(ctx: Context, value: str) -> int:
    """Channels of a value [batch, channels, *field] that shall lie together, as in 2017."""
    channels = ctx.type(value).shape[1]
    return wanted_group(ctx, value, lambda node, name: _wants(ctx, node, name), channels)


def _wants(ctx: Context, node: Node, value: str) -> int | None:
    """The group of channels in which a convolution reads its data; None of another node."""
    if node.op not in ("Conv", "ConvDataGrad") or node.inputs[0] != value:
        return None
    if node.op == "Conv":
        problem = Convolution.in_graph(ctx.graph, node).problem
    else:
        shapes = (ctx.type(v).shape for v in (*node.outputs, *node.inputs[1::-1]))
        problem = Convolution.of(node, *shapes).backward().problem
    return planned(ctx, problem)[0].in_group if reached(problem) else None
