"""Atanh."""

from __future__ import annotations

from typing import ClassVar

from ipuc.ops.unary import UnaryElementwise


class Atanh(UnaryElementwise):
    """Y = atanh x. Source: ONNX Atanh-22."""

    name: ClassVar[str] = "Atanh"
    kind: ClassVar[str] = "atanh"
