"""Selu."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from ipuc.ops.terms import Term
from ipuc.ops.unary import Applied, SmoothUnary


class Selu(SmoothUnary):
    """Y = gamma * x, or gamma * alpha * (e ** x - 1) below 0. Source: ONNX Selu-22."""

    name: ClassVar[str] = "Selu"
    kind: ClassVar[str] = "selu"
    numbers: ClassVar[Mapping[str, float]] = {
        "alpha": 1.6732631921768188,
        "gamma": 1.0507010221481323,
    }

    def slope(self, made: Applied) -> Term:
        """Gamma, times alpha * e ** x below 0."""
        alpha, gamma = made.numbers
        below = made.x.op("Min", 0).op("Exp") * alpha
        return made.dy.where(made.x > 0, made.dy * below) * gamma
