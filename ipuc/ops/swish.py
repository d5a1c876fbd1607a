"""Swish."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from ipuc.ops.terms import Term
from ipuc.ops.unary import Applied, SmoothUnary


class Swish(SmoothUnary):
    """Y = x * sigmoid(alpha * x). Source: ONNX Swish-24."""

    name: ClassVar[str] = "Swish"
    kind: ClassVar[str] = "swish"
    numbers: ClassVar[Mapping[str, float]] = {"alpha": 1.0}

    def slope(self, made: Applied) -> Term:
        """The sigmoid s of alpha * x, plus alpha * y * (1 - s)."""
        (alpha,) = made.numbers
        share = (made.x * alpha).op("Sigmoid")
        return made.dy * (share + made.y * (1 - share) * alpha)
