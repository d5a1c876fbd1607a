"""Dropout."""

from __future__ import annotations

from typing import ClassVar

from ipuc.graph.ir import Graph, Node
from ipuc.ops.define import Op
from ipuc.planner.context import Context
from ipuc.program.tensor import fill


class Dropout(Op):
    """Inference: the input itself, and a mask that keeps everything. Source: ONNX Dropout-13."""

    name: ClassVar[str] = "Dropout"
    shape_inputs: ClassVar[tuple[int, ...]] = (2,)

    def refuse(self, node: Node, graph: Graph) -> str | None:
        """Training mode, which draws random numbers, unless the ratio is 0."""
        mode = _given(node, graph, 2)
        ratio = _given(node, graph, 1)
        if mode and ratio != 0:
            return "training mode drops elements at random; set training_mode to false"
        return None

    def lower(self, ctx: Context, node: Node) -> None:
        """Views."""
        ctx.define(node.outputs[0], ctx.tensor(node.inputs[0]))
        if len(node.outputs) > 1 and node.outputs[1]:
            kind = ctx.type(node.outputs[1])
            ctx.define(node.outputs[1], fill(1, kind.shape, ctx.dtype(node.outputs[1])))


def _given(node: Node, graph: Graph, position: int) -> float | None:
    name = node.inputs[position] if position < len(node.inputs) else ""
    known = graph.constants.get(name)
    return None if known is None else float(known.item())
