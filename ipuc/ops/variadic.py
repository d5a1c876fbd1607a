"""What the elementwise operators of any number of inputs have in common."""

from __future__ import annotations

from typing import ClassVar

from ipuc.graph.ir import Node
from ipuc.ops.binary import binary
from ipuc.ops.define import Op
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
