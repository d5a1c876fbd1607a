"""Sqrt."""

from __future__ import annotations

from typing import ClassVar

from ipuc.ops.unary import UnaryElementwise


class Sqrt(UnaryElementwise):
    """Y = x ** 0.5. Source: ONNX Sqrt-13."""

    name: ClassVar[str] = "Sqrt"
    kind: ClassVar[str] = "sqrt"
