"""Adagrad."""

from __future__ import annotations

from typing import ClassVar

from ipuc.graph.ir import Node
from ipuc.ops.optimizing import OptimizerStep, Sums
from ipuc.planner.context import Context

#: Of the attribute epsilon.
_EPSILON = 1e-6


class Adagrad(OptimizerStep):
    """With G' = G + norm_coefficient * X: H' = H + G' ** 2; X' = X - r * G' / (sqrt(H') + epsilon).

    The rate is r = R / (1 + T * decay_factor). Source: ONNX preview training Adagrad-1.
    """

    name: ClassVar[str] = "Adagrad"
    states: ClassVar[int] = 1

    def lower(self, ctx: Context, node: Node) -> None:
        """Element by element, in float32."""
        sums, given = Sums(ctx, node.name), node.attributes
        norm, decay = (float(given.get(k, 0.0)) for k in ("norm_coefficient", "decay_factor"))
        rate, count = map(sums.read, node.inputs[:2])
        slowed = sums.two("add", sums.scaled(count, decay), 1.0)
        rate = sums.two("div", rate, slowed)
        for names, outputs in self.groups(node):
            x, gradient, squares = map(sums.read, names)
            pulled = sums.pulled(gradient, x, norm)
            total = sums.two("add", squares, sums.two("mul", pulled, pulled))
            size = sums.two("add", sums.root(total), float(given.get("epsilon", _EPSILON)))
            step = sums.two("div", sums.two("mul", pulled, rate), size)
            self.finish(ctx, outputs, sums.two("sub", x, step), total)
