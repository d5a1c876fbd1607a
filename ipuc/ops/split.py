"""Split."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from ipuc.graph.ir import Node
from ipuc.ops.define import Op
from ipuc.ops.shaping import axis_of, integers, settings
from ipuc.ops.writer import GraphWriter
from ipuc.planner.context import Context


class Split(Op):
    """Cut a tensor along an axis.

    Sizes come from the attribute `split` (before operator set 13), from the second input, or are
    equal; since operator set 18 the last of the equal parts may be smaller. Source: ONNX Split-18.
    """

    name: ClassVar[str] = "Split"
    shape_inputs: ClassVar[tuple[int, ...]] = (1,)

    def gradient(
        self, write: GraphWriter, node: Node, upstream: Sequence[str], wanted: Sequence[bool]
    ) -> Sequence[str]:
        """Gradients of the parts, joined; zeros where none arrives."""
        x, *others = node.inputs
        del wanted
        shape = write.shape(x)
        axis = axis_of(node, len(shape))
        sizes = _sizes(node, shape[axis], settings(write.known, node, 1, "split"))
        parts = [
            gradient or write.zeros(x, (*shape[:axis], size, *shape[axis + 1 :]))
            for gradient, size in zip(upstream, sizes, strict=True)
        ]
        whole = write.op("Concat", *parts, axis=axis) if len(parts) > 1 else parts[0]
        return [whole, *("" for _ in others)]

    def lower(self, ctx: Context, node: Node) -> None:
        """One view for each output."""
        x = ctx.tensor(node.inputs[0])
        axis = axis_of(node, len(x.shape))
        begin = 0
        sizes = _sizes(node, x.shape[axis], integers(ctx, node, 1, "split"))
        for output, size in zip(node.outputs, sizes, strict=True):
            if output:
                ctx.define(output, x.slice(axis, begin, begin + size))
            begin += size


def _sizes(node: Node, total: int, given: list[int] | None) -> list[int]:
    """Extents of the parts: those given, or equal ones."""
    if given is not None:
        return given
    size = -(-total // len(node.outputs))
    return [min(size, max(total - i * size, 0)) for i in range(len(node.outputs))]
