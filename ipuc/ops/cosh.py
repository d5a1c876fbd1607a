"""Cosh."""

from __future__ import annotations

from typing import ClassVar

from ipuc.ops.terms import Term
from ipuc.ops.unary import Applied, SmoothUnary


class Cosh(SmoothUnary):
    """Y = cosh x. Source: ONNX Cosh-22."""

    name: ClassVar[str] = "Cosh"
    kind: ClassVar[str] = "cosh"

    def slope(self, made: Applied) -> Term:
        """Sinh x."""
        return made.dy * made.x.op("Sinh")
