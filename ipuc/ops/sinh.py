"""Sinh."""

from __future__ import annotations

from typing import ClassVar

from ipuc.ops.unary import UnaryElementwise


class Sinh(UnaryElementwise):
    """Y = sinh x. Source: ONNX Sinh-22."""

    name: ClassVar[str] = "Sinh"
    kind: ClassVar[str] = "sinh"
