"""Neg."""

from __future__ import annotations

from typing import ClassVar

from ipuc.ops.terms import Term
from ipuc.ops.unary import Applied, SmoothUnary


class Neg(SmoothUnary):
    """Y = -x. Source: ONNX Neg-13."""

    name: ClassVar[str] = "Neg"
    kind: ClassVar[str] = "neg"

    def slope(self, made: Applied) -> Term:
        """-1."""
        return -made.dy
