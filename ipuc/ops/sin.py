"""Sin."""

from __future__ import annotations

from typing import ClassVar

from ipuc.ops.terms import Term
from ipuc.ops.unary import Applied, SmoothUnary


class Sin(SmoothUnary):
    """Y = sin x. Source: ONNX Sin-22."""

    name: ClassVar[str] = "Sin"
    kind: ClassVar[str] = "sin"

    def slope(self, made: Applied) -> Term:
        """Cos x."""
        return made.dy * made.x.op("Cos")
