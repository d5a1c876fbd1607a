"""Tan."""

from __future__ import annotations

from typing import ClassVar

from ipuc.ops.unary import UnaryElementwise


class Tan(UnaryElementwise):
    """Y = tan x. Source: ONNX Tan-22."""

    name: ClassVar[str] = "Tan"
    kind: ClassVar[str] = "tan"
