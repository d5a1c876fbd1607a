"""Celu."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from ipuc.ops.unary import UnaryElementwise


class Celu(UnaryElementwise):
    """Y = max(0, x) + min(0, alpha * (e ** (x / alpha) - 1)). Source: ONNX Celu-12."""

    name: ClassVar[str] = "Celu"
    kind: ClassVar[str] = "celu"
    numbers: ClassVar[Mapping[str, float]] = {"alpha": 1.0}
