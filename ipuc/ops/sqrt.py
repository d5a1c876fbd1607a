"""Sqrt."""

from __future__ import annotations

from typing import ClassVar

from ipuc.ops.terms import Term
from ipuc.ops.unary import Applied, SmoothUnary


class Sqrt(SmoothUnary):
    """Y = x ** 0.5. Source: ONNX Sqrt-13."""

    name: ClassVar[str] = "Sqrt"
    kind: ClassVar[str] = "sqrt"

    def slope(self, made: Applied) -> Term:
        """1 / (2 * sqrt x)."""
        return made.dy * 0.5 / made.y
