"""Abs."""

from __future__ import annotations

from typing import ClassVar

from ipuc.ops.terms import Term
from ipuc.ops.unary import Applied, SmoothUnary


class Abs(SmoothUnary):
    """Y = |x|. Source: ONNX Abs-13."""

    name: ClassVar[str] = "Abs"
    kind: ClassVar[str] = "abs"

    def slope(self, made: Applied) -> Term:
        """0 at 0, as in PyTorch."""
        return made.dy * made.x.op("Sign")
