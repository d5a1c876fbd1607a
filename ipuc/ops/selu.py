"""Selu."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from ipuc.ops.unary import UnaryElementwise


class Selu(UnaryElementwise):
    """Y = gamma * x, or gamma * alpha * (e ** x - 1) below 0. Source: ONNX Selu-22."""

    name: ClassVar[str] = "Selu"
    kind: ClassVar[str] = "selu"
    numbers: ClassVar[Mapping[str, float]] = {
        "alpha": 1.6732631921768188,
        "gamma": 1.0507010221481323,
    }
