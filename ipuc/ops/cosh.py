"""Cosh."""

from __future__ import annotations

from typing import ClassVar

from ipuc.ops.unary import UnaryElementwise


class Cosh(UnaryElementwise):
    """Y = cosh x. Source: ONNX Cosh-22."""

    name: ClassVar[str] = "Cosh"
    kind: ClassVar[str] = "cosh"
