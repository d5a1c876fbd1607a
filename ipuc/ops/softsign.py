"""Softsign."""

from __future__ import annotations

from typing import ClassVar

from ipuc.ops.terms import Term
from ipuc.ops.unary import Applied, SmoothUnary


class Softsign(SmoothUnary):
    """Y = x / (1 + |x|). Source: ONNX Softsign-22."""

    name: ClassVar[str] = "Softsign"
    kind: ClassVar[str] = "softsign"

    def slope(self, made: Applied) -> Term:
        """1 / (1 + |x|) ** 2."""
        size = made.x.op("Abs") + 1
        return made.dy / (size * size)
