"""Acos."""

from __future__ import annotations

from typing import ClassVar

from ipuc.ops.unary import UnaryElementwise


class Acos(UnaryElementwise):
    """Y = acos x. Source: ONNX Acos-22."""

    name: ClassVar[str] = "Acos"
    kind: ClassVar[str] = "acos"
