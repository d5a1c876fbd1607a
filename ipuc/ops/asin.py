"""Asin."""

from __future__ import annotations

from typing import ClassVar

from ipuc.ops.unary import UnaryElementwise


class Asin(UnaryElementwise):
    """Y = asin x. Source: ONNX Asin-22."""

    name: ClassVar[str] = "Asin"
    kind: ClassVar[str] = "asin"
