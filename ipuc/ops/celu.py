"""Celu."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from ipuc.ops.terms import Term
from ipuc.ops.unary import Applied, SmoothUnary


class Celu(SmoothUnary):
    """Y = max(0, x) + min(0, alpha * (e ** (x / alpha) - 1)). Source: ONNX Celu-12."""

    name: ClassVar[str] = "Celu"
    kind: ClassVar[str] = "celu"
    numbers: ClassVar[Mapping[str, float]] = {"alpha": 1.0}

    def slope(self, made: Applied) -> Term:
        """1, or e ** (x / alpha) below 0."""
        (alpha,) = made.numbers
        below = (made.x.op("Min", 0) / alpha).op("Exp")
        return made.dy.where(made.x > 0, made.dy * below)
