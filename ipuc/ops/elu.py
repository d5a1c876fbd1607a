"""Elu."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from ipuc.ops.unary import UnaryElementwise


class Elu(UnaryElementwise):
    """Y = x, or alpha * (e ** x - 1) below 0. Source: ONNX Elu-22."""

    name: ClassVar[str] = "Elu"
    kind: ClassVar[str] = "elu"
    numbers: ClassVar[Mapping[str, float]] = {"alpha": 1.0}
