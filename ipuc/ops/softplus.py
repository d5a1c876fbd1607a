"""Softplus."""

from __future__ import annotations

from typing import ClassVar

from ipuc.ops.terms import Term
from ipuc.ops.unary import Applied, SmoothUnary


class Softplus(SmoothUnary):
    """Y = ln(1 + e ** x). Source: ONNX Softplus-22."""

    name: ClassVar[str] = "Softplus"
    kind: ClassVar[str] = "softplus"

    def slope(self, made: Applied) -> Term:
        """1 / (1 + e ** -x)."""
        return made.dy * made.x.op("Sigmoid")
