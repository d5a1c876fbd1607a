"""What the elementwise operators of any number of inputs have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from ipuc.graph.ir import Node
from ipuc.ops.binary import binary
from ipuc.ops.define import Op
from ipuc.ops.terms import Term
from ipuc.ops.writer import GraphWriter
from ipuc.planner.context import Context
from ipuc.program.tensor import Tensor


def chain(ctx: Context, kind: str, tensors: list[Tensor], name: str) -> Tensor:
    """Combine tensors from left to right; one alone is itself."""
    total, *rest = tensors
    for tensor in rest:
        total = binary(ctx, kind, total, tensor, name, over=("a", "b"))
    return total


class VariadicElementwise(Op):
    """An operator that combines its inputs from left to right; `kind` is BinaryOp's operation."""

    kind: ClassVar[str]

    def lower(self, ctx: Context, node: Node) -> None:
        """One compute set for every input after the first."""
        (output,) = node.outputs
        ctx.define(output, chain(ctx, self.kind, ctx.inputs(node), output))


def share_among_equals(
    write: GraphWriter, node: Node, upstream: str, wanted: Sequence[bool]
) -> Sequence[str]:
    """Give the gradient of a greatest or least element to the inputs that have it, in equal parts.

    Args:
        write: takes the nodes.
        node: Max or Min.
        upstream: gradient of its result.
        wanted: for each input, whether its gradient is needed.
    """
    y, dy = Term(write, node.outputs[0]), Term(write, upstream)
    marks = [Term(write, name).equals(y).like(dy) for name in node.inputs]
    count = sum(marks[1:], marks[0])
    part = dy if len(marks) == 1 else dy / count
    return [
        (part * mark).to(write.shape(name)) if asked else ""
        for name, mark, asked in zip(node.inputs, marks, wanted, strict=True)
    ]
