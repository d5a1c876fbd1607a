"""Log."""

from __future__ import annotations

from typing import ClassVar

from ipuc.ops.terms import Term
from ipuc.ops.unary import Applied, SmoothUnary


class Log(SmoothUnary):
    """Y = ln x. Source: ONNX Log-13."""

    name: ClassVar[str] = "Log"
    kind: ClassVar[str] = "log"

    def slope(self, made: Applied) -> Term:
        """1 / x."""
        return made.dy / made.x
