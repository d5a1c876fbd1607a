"""LeakyRelu."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from ipuc.ops.terms import Term
from ipuc.ops.unary import Applied, SmoothUnary


class LeakyRelu(SmoothUnary):
    """Y = x, or alpha * x below 0. Source: ONNX LeakyRelu-16."""

    name: ClassVar[str] = "LeakyRelu"
    kind: ClassVar[str] = "leaky_relu"
    numbers: ClassVar[Mapping[str, float]] = {"alpha": 0.01}

    def slope(self, made: Applied) -> Term:
        """1, or alpha at and below 0, as in PyTorch."""
        (alpha,) = made.numbers
        return made.dy.where(made.x > 0, made.dy * alpha)
