"""Exp."""

from __future__ import annotations

from typing import ClassVar

from ipuc.ops.terms import Term
from ipuc.ops.unary import Applied, SmoothUnary


class Exp(SmoothUnary):
    """Y = e ** x. Source: ONNX Exp-13."""

    name: ClassVar[str] = "Exp"
    kind: ClassVar[str] = "exp"

    def slope(self, made: Applied) -> Term:
        """The result itself."""
        return made.dy * made.y
