"""Acos."""

from __future__ import annotations

from typing import ClassVar

from ipuc.ops.terms import Term
from ipuc.ops.unary import Applied, SmoothUnary


class Acos(SmoothUnary):
    """Y = acos x. Source: ONNX Acos-22."""

    name: ClassVar[str] = "Acos"
    kind: ClassVar[str] = "acos"

    def slope(self, made: Applied) -> Term:
        """-1 / sqrt(1 - x ** 2)."""
        return -made.dy / (1 - made.x * made.x).op("Sqrt")
