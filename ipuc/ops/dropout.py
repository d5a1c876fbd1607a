"""Dropout."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

from ipuc.codelets.dropout import Dropout as Vertex
from ipuc.graph.bodies import DOMAIN
from ipuc.graph.ir import Graph, Node
from ipuc.ops.define import Op
from ipuc.ops.writer import GraphWriter
from ipuc.planner.context import Context
from ipuc.planner.elementwise import elementwise
from ipuc.program.tensor import fill

#: Chance of an element to be dropped, where no input says so.
RATIO = 0.5


class Dropout(Op):
    """Training: elements set to 0 at random, the others scaled; inference: the input itself.

    Which are dropped depends on seed, training step and the result's name alone. A mask says what
    was kept. Source: ONNX Dropout-13.
    """

    name: ClassVar[str] = "Dropout"
    shape_inputs: ClassVar[tuple[int, ...]] = (2,)

    def refuse(self, node: Node, graph: Graph) -> str | None:
        """The ratio must be known, as it is part of the vertices; and what is scaled is float."""
        if not _given(node, graph, 2):
            return None
        if len(node.inputs) > 1 and node.inputs[1] and _given(node, graph, 1) is None:
            return "its ratio is not known before the run; give it (--const NAME=VALUE)"
        if not 0 <= _ratio(node, graph) <= 1:
            return f"its ratio {_ratio(node, graph):g} is no share between 0 and 1"
        return None

    def gradient(
        self, write: GraphWriter, node: Node, upstream: Sequence[str], wanted: Sequence[bool]
    ) -> Sequence[str]:
        """That of what was kept, scaled."""
        dy = upstream[0]
        if wanted[0] and dy and _ratio(node, write.graph):
            scale = Vertex(_ratio(node, write.graph)).scale
            dy = write.own("DropoutGrad", dy, write.also(node, 1), scale=scale)
        return [dy, *[""] * (len(node.inputs) - 1)]

    def lower(self, ctx: Context, node: Node) -> None:
        """Vertices that draw and scale; views where nothing is dropped."""
        x, output, ratio = ctx.tensor(node.inputs[0]), node.outputs[0], _ratio(node, ctx.graph)
        mask = node.outputs[1] if len(node.outputs) > 1 else ""
        if not ratio:
            ctx.define(output, x)
            if mask:
                ctx.define(mask, fill(1, x.shape, ctx.dtype(mask)))
            return
        # Elements are told apart by their place in the mask, so that is row-major.
        flags = ctx.builder.variable(mask or f"{output} mask", "bool", x.shape)
        vertex = Vertex(ratio, int(node.attributes.get("seed", 0)), output)
        made = elementwise(ctx, vertex, {"x": x, "mask": flags}, x.dtype, output)
        ctx.define(output, made)
        if mask:
            ctx.define(mask, flags)


def keep_mask(write: GraphWriter, node: Node) -> None:
    """Give a node that drops an output for its mask, if it has none."""
    if _ratio(node, write.graph):
        write.also(node, 1)


def repeated(node: Node, graph: Graph) -> Node:
    """A node that drops what another one dropped, by its mask: nothing is drawn again."""
    ratio = _ratio(node, graph)
    if not ratio:
        return replace(node, op="Identity", inputs=node.inputs[:1], attributes={})
    scale = {"scale": Vertex(ratio).scale}
    inputs = (node.inputs[0], node.outputs[1])
    return replace(node, op="DropoutGrad", domain=DOMAIN, opset=1, inputs=inputs, attributes=scale)


def _ratio(node: Node, graph: Graph) -> float:
    """Chance of an element to be dropped: 0 in inference."""
    if not _given(node, graph, 2):
        return 0.0
    given = _given(node, graph, 1)
    return RATIO if given is None else given


def _given(node: Node, graph: Graph, position: int) -> float | None:
    name = node.inputs[position] if position < len(node.inputs) else ""
    known = graph.constants.get(name)
    return None if known is None else float(known.item())
