"""Sigmoid."""

from __future__ import annotations

from typing import ClassVar

from ipuc.ops.terms import Term
from ipuc.ops.unary import Applied, SmoothUnary


class Sigmoid(SmoothUnary):
    """Y = 1 / (1 + e ** -x). Source: ONNX Sigmoid-13."""

    name: ClassVar[str] = "Sigmoid"
    kind: ClassVar[str] = "sigmoid"

    def slope(self, made: Applied) -> Term:
        """Y * (1 - y)."""
        return made.dy * (made.y * (1 - made.y))
