"""Mean."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from ipuc.graph.ir import Node
from ipuc.ops.define import Op
from ipuc.ops.unary import unary
from ipuc.ops.variadic import chain
from ipuc.ops.writer import GraphWriter
from ipuc.planner.context import Context


class Mean(Op):
    """Mean of all inputs, with broadcasting. Source: ONNX Mean-13."""

    name: ClassVar[str] = "Mean"

    def gradient(
        self, write: GraphWriter, node: Node, upstream: Sequence[str], wanted: Sequence[bool]
    ) -> Sequence[str]:
        """It passes in equal parts to every input, and is summed where that was broadcast."""
        part = write.scaled(upstream[0], 1 / len(node.inputs))
        return [
            write.sum_to(part, write.shape(name)) if asked else ""
            for name, asked in zip(node.inputs, wanted, strict=True)
        ]

    def lower(self, ctx: Context, node: Node) -> None:
        """Add, then divide by the number of inputs."""
        (output,) = node.outputs
        inputs = ctx.inputs(node)
        made = chain(ctx, "add", inputs, output)
        if len(inputs) > 1:
            made = unary(ctx, "scale", made, output, 1 / len(inputs), over=("x",))
        ctx.define(output, made)
