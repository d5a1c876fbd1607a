"""Tanh."""

from __future__ import annotations

from typing import ClassVar

from ipuc.ops.terms import Term
from ipuc.ops.unary import Applied, SmoothUnary


class Tanh(SmoothUnary):
    """Y = tanh x. Source: ONNX Tanh-13."""

    name: ClassVar[str] = "Tanh"
    kind: ClassVar[str] = "tanh"

    def slope(self, made: Applied) -> Term:
        """1 - y ** 2."""
        return made.dy * (1 - made.y * made.y)
