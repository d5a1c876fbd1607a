"""Acosh."""

from __future__ import annotations

from typing import ClassVar

from ipuc.ops.terms import Term
from ipuc.ops.unary import Applied, SmoothUnary


class Acosh(SmoothUnary):
    """Y = acosh x. Source: ONNX Acosh-22."""

    name: ClassVar[str] = "Acosh"
    kind: ClassVar[str] = "acosh"

    def slope(self, made: Applied) -> Term:
        """1 / sqrt(x ** 2 - 1)."""
        return made.dy / (made.x * made.x - 1).op("Sqrt")
