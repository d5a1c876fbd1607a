"""Mish."""

from __future__ import annotations

from typing import ClassVar

from ipuc.ops.unary import UnaryElementwise


class Mish(UnaryElementwise):
    """Y = x * tanh(softplus(x)). Source: ONNX Mish-22."""

    name: ClassVar[str] = "Mish"
    kind: ClassVar[str] = "mish"
