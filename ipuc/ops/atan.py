"""Atan."""

from __future__ import annotations

from typing import ClassVar

from ipuc.ops.terms import Term
from ipuc.ops.unary import Applied, SmoothUnary


class Atan(SmoothUnary):
    """Y = atan x. Source: ONNX Atan-22."""

    name: ClassVar[str] = "Atan"
    kind: ClassVar[str] = "atan"

    def slope(self, made: Applied) -> Term:
        """1 / (1 + x ** 2)."""
        return made.dy / (made.x * made.x + 1)
