"""PRelu."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from ipuc.graph.ir import Graph, Node
from ipuc.ops.binary import BinaryElementwise, binary
from ipuc.ops.terms import Term
from ipuc.ops.writer import GraphWriter
from ipuc.planner.context import Context
from ipuc.types import Shape


class PRelu(BinaryElementwise):
    """Y = x, or slope * x below 0; the slope broadcasts to x. Source: ONNX PRelu-16.

    A slope of one number per channel, shape [C], is taken as [C, 1, ...] where it does not
    broadcast as it is: that is what PRelu-6 meant, and ONNX's converter leaves the shape alone.
    """

    name: ClassVar[str] = "PRelu"
    kind: ClassVar[str] = "prelu"

    def refuse(self, node: Node, graph: Graph) -> str | None:
        """A slope must broadcast to x."""
        x, slope = (graph.types[name].shape for name in node.inputs)
        if _aligned(x, slope) is None:
            return f"its slope of shape {slope} does not broadcast to {x}"
        return None

    def gradient(
        self, write: GraphWriter, node: Node, upstream: Sequence[str], wanted: Sequence[bool]
    ) -> Sequence[str]:
        """1 and 0, or below 0 and at it the slope and x, as in PyTorch."""
        x, slope = (Term(write, name) for name in node.inputs)
        dy = Term(write, upstream[0])
        shape = _aligned(write.shape(x.name), write.shape(slope.name))
        assert shape is not None
        positive = x > 0
        made = ["", ""]
        if wanted[0]:
            aligned = Term(write, write.reshaped(slope.name, shape))
            made[0] = dy.where(positive, dy * aligned).name
        if wanted[1]:
            made[1] = write.reshaped((dy * x).unless(positive).to(shape), write.shape(slope.name))
        return made

    def lower(self, ctx: Context, node: Node) -> None:
        """One compute set over the elements of x."""
        x, slope = ctx.inputs(node)
        (output,) = node.outputs
        shape = _aligned(x.shape, slope.shape)
        assert shape is not None
        slope = ctx.builder.reshape(slope, shape)
        ctx.define(output, binary(ctx, self.kind, x, slope, output, over=("a",)))


def _aligned(x: Shape, slope: Shape) -> Shape | None:
    """The shape under which a slope broadcasts to x; None if it does under none."""
    padded = (1,) * (len(x) - len(slope)) + slope
    if len(padded) == len(x) and all(s in (1, n) for s, n in zip(padded, x, strict=True)):
        return slope
    if len(slope) == 1 and len(x) > 1 and slope[0] == x[1]:
        return (slope[0], *(1,) * (len(x) - 2))
    return None
