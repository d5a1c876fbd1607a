"""Reciprocal."""

from __future__ import annotations

from typing import ClassVar

from ipuc.ops.unary import UnaryElementwise


class Reciprocal(UnaryElementwise):
    """Y = 1 / x. Source: ONNX Reciprocal-13."""

    name: ClassVar[str] = "Reciprocal"
    kind: ClassVar[str] = "reciprocal"
