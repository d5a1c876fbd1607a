"""Acosh."""

from __future__ import annotations

from typing import ClassVar

from ipuc.ops.unary import UnaryElementwise


class Acosh(UnaryElementwise):
    """Y = acosh x. Source: ONNX Acosh-22."""

    name: ClassVar[str] = "Acosh"
    kind: ClassVar[str] = "acosh"
