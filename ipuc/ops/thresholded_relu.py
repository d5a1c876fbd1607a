"""ThresholdedRelu."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from ipuc.ops.terms import Term
from ipuc.ops.unary import Applied, SmoothUnary


class ThresholdedRelu(SmoothUnary):
    """Y = x where x > alpha, else 0. Source: ONNX ThresholdedRelu-22."""

    name: ClassVar[str] = "ThresholdedRelu"
    kind: ClassVar[str] = "thresholded_relu"
    numbers: ClassVar[Mapping[str, float]] = {"alpha": 1.0}

    def slope(self, made: Applied) -> Term:
        """1 above alpha, else 0."""
        (alpha,) = made.numbers
        return made.dy.where(made.x > alpha)
