"""Sin."""

from __future__ import annotations

from typing import ClassVar

from ipuc.ops.unary import UnaryElementwise


class Sin(UnaryElementwise):
    """Y = sin x. Source: ONNX Sin-22."""

    name: ClassVar[str] = "Sin"
    kind: ClassVar[str] = "sin"
