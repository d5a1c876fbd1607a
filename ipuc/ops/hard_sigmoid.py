"""HardSigmoid."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from ipuc.ops.terms import Term
from ipuc.ops.unary import Applied, SmoothUnary


class HardSigmoid(SmoothUnary):
    """Y = max(0, min(1, alpha * x + beta)). Source: ONNX HardSigmoid-22."""

    name: ClassVar[str] = "HardSigmoid"
    kind: ClassVar[str] = "hard_sigmoid"
    numbers: ClassVar[Mapping[str, float]] = {"alpha": 0.2, "beta": 0.5}

    def slope(self, made: Applied) -> Term:
        """Alpha between the bounds, 0 at and beyond them, as in PyTorch."""
        alpha, _ = made.numbers
        return (made.dy * alpha).where((made.y > 0) & (made.y < 1))
