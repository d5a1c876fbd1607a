"""Tan."""

from __future__ import annotations

from typing import ClassVar

from ipuc.ops.terms import Term
from ipuc.ops.unary import Applied, SmoothUnary


class Tan(SmoothUnary):
    """Y = tan x. Source: ONNX Tan-22."""

    name: ClassVar[str] = "Tan"
    kind: ClassVar[str] = "tan"

    def slope(self, made: Applied) -> Term:
        """1 + y ** 2."""
        return made.dy * (made.y * made.y + 1)
