"""Elu."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from ipuc.ops.terms import Term
from ipuc.ops.unary import Applied, SmoothUnary


class Elu(SmoothUnary):
    """Y = x, or alpha * (e ** x - 1) below 0. Source: ONNX Elu-22."""

    name: ClassVar[str] = "Elu"
    kind: ClassVar[str] = "elu"
    numbers: ClassVar[Mapping[str, float]] = {"alpha": 1.0}

    def slope(self, made: Applied) -> Term:
        """1, or alpha * e ** x below 0."""
        (alpha,) = made.numbers
        below = made.x.op("Min", 0).op("Exp") * alpha
        return made.dy.where(made.x > 0, made.dy * below)
