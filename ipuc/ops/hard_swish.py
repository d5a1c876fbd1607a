"""HardSwish."""

from __future__ import annotations

from typing import ClassVar

from ipuc.ops.terms import Term
from ipuc.ops.unary import Applied, SmoothUnary


class HardSwish(SmoothUnary):
    """Y = x * max(0, min(1, x / 6 + 1 / 2)). Source: ONNX HardSwish-22."""

    name: ClassVar[str] = "HardSwish"
    kind: ClassVar[str] = "hard_swish"

    def slope(self, made: Applied) -> Term:
        """0, then x / 3 + 1 / 2 between -3 and 3, then 1."""
        x = made.x
        slope = (x / 3 + 0.5).where(x > -3)
        return made.dy.where(x >= 3, made.dy * slope)
