"""Asin."""

from __future__ import annotations

from typing import ClassVar

from ipuc.ops.terms import Term
from ipuc.ops.unary import Applied, SmoothUnary


class Asin(SmoothUnary):
    """Y = asin x. Source: ONNX Asin-22."""

    name: ClassVar[str] = "Asin"
    kind: ClassVar[str] = "asin"

    def slope(self, made: Applied) -> Term:
        """1 / sqrt(1 - x ** 2)."""
        return made.dy / (1 - made.x * made.x).op("Sqrt")
