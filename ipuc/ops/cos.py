"""Cos."""

from __future__ import annotations

from typing import ClassVar

from ipuc.ops.unary import UnaryElementwise


class Cos(UnaryElementwise):
    """Y = cos x. Source: ONNX Cos-22."""

    name: ClassVar[str] = "Cos"
    kind: ClassVar[str] = "cos"
