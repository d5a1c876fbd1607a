"""Atan."""

from __future__ import annotations

from typing import ClassVar

from ipuc.ops.unary import UnaryElementwise


class Atan(UnaryElementwise):
    """Y = atan x. Source: ONNX Atan-22."""

    name: ClassVar[str] = "Atan"
    kind: ClassVar[str] = "atan"
