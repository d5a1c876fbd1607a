"""Sinh."""

from __future__ import annotations

from typing import ClassVar

from ipuc.ops.terms import Term
from ipuc.ops.unary import Applied, SmoothUnary


class Sinh(SmoothUnary):
    """Y = sinh x. Source: ONNX Sinh-22."""

    name: ClassVar[str] = "Sinh"
    kind: ClassVar[str] = "sinh"

    def slope(self, made: Applied) -> Term:
        """Cosh x."""
        return made.dy * made.x.op("Cosh")
