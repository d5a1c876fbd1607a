"""Mish."""

from __future__ import annotations

from typing import ClassVar

from ipuc.ops.terms import Term
from ipuc.ops.unary import Applied, SmoothUnary


class Mish(SmoothUnary):
    """Y = x * tanh(softplus(x)). Source: ONNX Mish-22."""

    name: ClassVar[str] = "Mish"
    kind: ClassVar[str] = "mish"

    def slope(self, made: Applied) -> Term:
        """tanh(softplus(x)), and x times the slope of that."""
        x = made.x
        inner = x.op("Softplus").op("Tanh")
        slope = inner + x * x.op("Sigmoid") * (1 - inner * inner)
        return made.dy * slope
