"""Erf."""

from __future__ import annotations

import math
from typing import ClassVar

from ipuc.ops.terms import Term
from ipuc.ops.unary import Applied, SmoothUnary


class Erf(SmoothUnary):
    """The error function. Source: ONNX Erf-13."""

    name: ClassVar[str] = "Erf"
    kind: ClassVar[str] = "erf"

    def slope(self, made: Applied) -> Term:
        """2 / sqrt(pi) * e ** -(x ** 2)."""
        return made.dy * ((-made.x * made.x).op("Exp") * (2 / math.sqrt(math.pi)))
