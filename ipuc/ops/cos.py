"""Cos."""

from __future__ import annotations

from typing import ClassVar

from ipuc.ops.terms import Term
from ipuc.ops.unary import Applied, SmoothUnary


class Cos(SmoothUnary):
    """Y = cos x. Source: ONNX Cos-22."""

    name: ClassVar[str] = "Cos"
    kind: ClassVar[str] = "cos"

    def slope(self, made: Applied) -> Term:
        """-sin x."""
        return -made.dy * made.x.op("Sin")
