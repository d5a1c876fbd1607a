"""Asinh."""

from __future__ import annotations

from typing import ClassVar

from ipuc.ops.terms import Term
from ipuc.ops.unary import Applied, SmoothUnary


class Asinh(SmoothUnary):
    """Y = asinh x. Source: ONNX Asinh-22."""

    name: ClassVar[str] = "Asinh"
    kind: ClassVar[str] = "asinh"

    def slope(self, made: Applied) -> Term:
        """1 / sqrt(x ** 2 + 1)."""
        return made.dy / (made.x * made.x + 1).op("Sqrt")
