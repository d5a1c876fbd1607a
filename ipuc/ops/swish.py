"""Swish."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from ipuc.ops.unary import UnaryElementwise


class Swish(UnaryElementwise):
    """Y = x * sigmoid(alpha * x). Source: ONNX Swish-24."""

    name: ClassVar[str] = "Swish"
    kind: ClassVar[str] = "swish"
    numbers: ClassVar[Mapping[str, float]] = {"alpha": 1.0}
