"""Atanh."""

from __future__ import annotations

from typing import ClassVar

from ipuc.ops.terms import Term
from ipuc.ops.unary import Applied, SmoothUnary


class Atanh(SmoothUnary):
    """Y = atanh x. Source: ONNX Atanh-22."""

    name: ClassVar[str] = "Atanh"
    kind: ClassVar[str] = "atanh"

    def slope(self, made: Applied) -> Term:
        """1 / (1 - x ** 2)."""
        return made.dy / (1 - made.x * made.x)
