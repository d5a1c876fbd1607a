"""Neg."""

from __future__ import annotations

from typing import ClassVar

from ipuc.ops.unary import UnaryElementwise


class Neg(UnaryElementwise):
    """Y = -x. Source: ONNX Neg-13."""

    name: ClassVar[str] = "Neg"
    kind: ClassVar[str] = "neg"
