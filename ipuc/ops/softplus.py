"""Softplus."""

from __future__ import annotations

from typing import ClassVar

from ipuc.ops.unary import UnaryElementwise


class Softplus(UnaryElementwise):
    """Y = ln(1 + e ** x). Source: ONNX Softplus-22."""

    name: ClassVar[str] = "Softplus"
    kind: ClassVar[str] = "softplus"
