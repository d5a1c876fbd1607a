"""Asinh."""

from __future__ import annotations

from typing import ClassVar

from ipuc.ops.unary import UnaryElementwise


class Asinh(UnaryElementwise):
    """Y = asinh x. Source: ONNX Asinh-22."""

    name: ClassVar[str] = "Asinh"
    kind: ClassVar[str] = "asinh"
