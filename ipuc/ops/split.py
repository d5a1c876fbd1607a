"""Split."""

from __future__ import annotations

from typing import ClassVar

from ipuc.graph.ir import Node
from ipuc.ops.define import Op
from ipuc.ops.shaping import axis_of, integers
from ipuc.planner.context import Context


class Split(Op):
    """Cut a tensor along an axis.

    Sizes come from the attribute `split` (before operator set 13), from the second input, or are
    equal; since operator set 18 the last of the equal parts may be smaller. Source: ONNX Split-18.
    """

    name: ClassVar[str] = "Split"
    shape_inputs: ClassVar[tuple[int, ...]] = (1,)

    def lower(self, ctx: Context, node: Node) -> None:
        """One view for each output."""
        x = ctx.tensor(node.inputs[0])
        axis = axis_of(node, len(x.shape))
        total = x.shape[axis]
        sizes = integers(ctx, node, 1, "split")
        if sizes is None:
            size = -(-total // len(node.outputs))
            sizes = [size] * len(node.outputs)
        begin = 0
        for output, size in zip(node.outputs, sizes, strict=True):
            end = min(begin + size, total)
            if output:
                ctx.define(output, x.slice(axis, begin, end))
            begin = end
