"""Relu."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from ipuc.graph.ir import Node
from ipuc.ops.unary import UnaryElementwise
from ipuc.ops.writer import GraphWriter
from ipuc.planner.context import Context
from ipuc.planner.worker.elements import rectified


class Relu(UnaryElementwise):
    """y = max(x, 0). Source: ONNX Relu-14."""

    name: ClassVar[str] = "Relu"
    kind: ClassVar[str] = "relu"

    def gradient(
        self, write: GraphWriter, node: Node, upstream: Sequence[str], wanted: Sequence[bool]
    ) -> Sequence[str]:
        """It passes where the result is positive; at 0 it is 0, as in PyTorch."""
        del wanted
        return [write.own("ReluGrad", node.outputs[0], upstream[0])]

    def lower(self, ctx: Context, node: Node) -> None:
        """One compute set over all elements; at granularity `worker` as in 2017."""
        x, (output,) = ctx.tensor(node.inputs[0]), node.outputs
        made = None
        if ctx.granularity == "worker" and x.dtype.startswith("float"):
            made = rectified(ctx, x, output)
        if made is None:
            super().lower(ctx, node)
        else:
            ctx.define(output, made)
