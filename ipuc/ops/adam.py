"""Adam."""

from __future__ import annotations

from typing import ClassVar

from ipuc.codelets.adam_factors import AdamFactors
from ipuc.graph.ir import Node
from ipuc.ops.optimizing import OptimizerStep, Sums
from ipuc.planner.context import Context
from ipuc.program.family import separable
from ipuc.program.tensor import Tensor

#: Attributes and their defaults.
_NUMBERS = {
    "alpha": 0.9,
    "beta": 0.999,
    "epsilon": 1e-6,
    "norm_coefficient": 0.0,
    "norm_coefficient_post": 0.0,
}


class Adam(OptimizerStep):
    """X' = X - r * V' / (sqrt(H') + epsilon), of moments V and H of G + norm_coefficient * X.

    V' = alpha * V + (1 - alpha) * G; H' = beta * H + (1 - beta) * G ** 2; r = R * sqrt(1 - beta
    ** T) / (1 - alpha ** T), or R in iteration 0; X' shrinks by norm_coefficient_post.
    Source: ONNX preview training Adam-1.
    """

    name: ClassVar[str] = "Adam"
    states: ClassVar[int] = 2

    def lower(self, ctx: Context, node: Node) -> None:
        """Element by element, in float32; one vertex for the correction of the rate."""
        sums = Sums(ctx, node.name)
        alpha, beta, epsilon, norm, post = (
            float(node.attributes.get(name, default)) for name, default in _NUMBERS.items()
        )
        rate, count = map(sums.read, node.inputs[:2])
        rate = sums.two("mul", rate, sums.positive(count, _correction(sums, count, alpha, beta), 1))
        for names, outputs in self.groups(node):
            x, gradient, first, second = map(sums.read, names)
            pulled = sums.pulled(gradient, x, norm)
            square = sums.two("mul", pulled, pulled)
            first = sums.two("add", sums.scaled(first, alpha), sums.scaled(pulled, 1 - alpha))
            second = sums.two("add", sums.scaled(second, beta), sums.scaled(square, 1 - beta))
            size = sums.two("add", sums.root(second), epsilon)
            step = sums.two("div", sums.two("mul", first, rate), size)
            there = sums.scaled(sums.two("sub", x, step), 1 - post)
            self.finish(ctx, outputs, there, first, second)


def _correction(sums: Sums, count: Tensor, alpha: float, beta: float) -> Tensor:
    """sqrt(1 - beta ** T) / (1 - alpha ** T) of a count T of 1 or more."""
    builder, one = sums.ctx.builder, sums.ctx.builder.solid(sums.ctx.scalar(1.0, "float32"))
    factors = builder.variable(f"{sums.name} factors", "float32", (3,))
    at_least = sums.two("max", count, 1.0)
    with builder.compute_set(f"{sums.name} factors") as compute_set:
        compute_set.workers = "one"
        compute_set.add(
            AdamFactors(1.0, 1 - alpha, 1 - beta),
            separable(0, [0]),
            step=builder.field(at_least, [[0]], ()),
            scale=builder.field(one, [[0]], ()),
            out=builder.field(factors, [[0]], (3,)),
        )
    _, first, second = (builder.reshape(factors.slice(0, at, at + 1), ()) for at in range(3))
    return sums.two("div", first, second)
