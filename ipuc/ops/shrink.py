"""Shrink."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from ipuc.ops.terms import Term
from ipuc.ops.unary import Applied, SmoothUnary


class Shrink(SmoothUnary):
    """Y = x moved towards 0 by bias beyond +-lambd, else 0. Source: ONNX Shrink-9."""

    name: ClassVar[str] = "Shrink"
    kind: ClassVar[str] = "shrink"
    numbers: ClassVar[Mapping[str, float]] = {"bias": 0.0, "lambd": 0.5}

    def slope(self, made: Applied) -> Term:
        """1 beyond +-lambd, else 0."""
        _, edge = made.numbers
        return made.dy.where(made.x.op("Abs") > edge)
