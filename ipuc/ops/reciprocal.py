"""Reciprocal."""

from __future__ import annotations

from typing import ClassVar

from ipuc.ops.terms import Term
from ipuc.ops.unary import Applied, SmoothUnary


class Reciprocal(SmoothUnary):
    """Y = 1 / x. Source: ONNX Reciprocal-13."""

    name: ClassVar[str] = "Reciprocal"
    kind: ClassVar[str] = "reciprocal"

    def slope(self, made: Applied) -> Term:
        """-1 / x ** 2."""
        return -made.dy * (made.y * made.y)
