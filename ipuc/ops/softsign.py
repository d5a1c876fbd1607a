"""Softsign."""

from __future__ import annotations

from typing import ClassVar

from ipuc.ops.unary import UnaryElementwise


class Softsign(UnaryElementwise):
    """Y = x / (1 + |x|). Source: ONNX Softsign-22."""

    name: ClassVar[str] = "Softsign"
    kind: ClassVar[str] = "softsign"
