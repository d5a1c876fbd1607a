"""Tanh."""

from __future__ import annotations

from typing import ClassVar

from ipuc.ops.unary import UnaryElementwise


class Tanh(UnaryElementwise):
    """Y = tanh x. Source: ONNX Tanh-13."""

    name: ClassVar[str] = "Tanh"
    kind: ClassVar[str] = "tanh"
