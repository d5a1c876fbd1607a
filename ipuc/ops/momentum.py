"""Momentum."""

from __future__ import annotations

from typing import ClassVar

from ipuc.graph.ir import Graph, Node
from ipuc.ops.optimizing import OptimizerStep, Sums
from ipuc.planner.context import Context


class Momentum(OptimizerStep):
    """V' = alpha * V + beta * (G + norm_coefficient * X); X' = X - R * V'.

    In the first iteration beta is 1; Nesterov's X' = X - R * (G + norm_coefficient * X + alpha *
    V'). Source: ONNX preview training Momentum-1.
    """

    name: ClassVar[str] = "Momentum"
    states: ClassVar[int] = 1

    def refuse(self, node: Node, graph: Graph) -> str | None:
        """There are two modes."""
        mode = node.attributes.get("mode")
        if mode not in ("standard", "nesterov"):
            return f'no mode is called "{mode}"; use standard or nesterov'
        return super().refuse(node, graph)

    def lower(self, ctx: Context, node: Node) -> None:
        """Element by element, in float32."""
        sums, given = Sums(ctx, node.name), node.attributes
        alpha, beta, norm = (float(given[k]) for k in ("alpha", "beta", "norm_coefficient"))
        rate = sums.read(node.inputs[0])
        share = sums.positive(sums.read(node.inputs[1]), beta, 1.0)
        for names, outputs in self.groups(node):
            x, gradient, v = map(sums.read, names)
            pulled = sums.pulled(gradient, x, norm)
            moved = sums.two("add", sums.scaled(v, alpha), sums.two("mul", pulled, share))
            step = moved
            if given["mode"] == "nesterov":
                step = sums.two("add", pulled, sums.scaled(moved, alpha))
            there = sums.two("sub", x, sums.two("mul", step, rate))
            self.finish(ctx, outputs, there, moved)
