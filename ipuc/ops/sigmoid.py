"""Sigmoid."""

from __future__ import annotations

from typing import ClassVar

from ipuc.ops.unary import UnaryElementwise


class Sigmoid(UnaryElementwise):
    """Y = 1 / (1 + e ** -x). Source: ONNX Sigmoid-13."""

    name: ClassVar[str] = "Sigmoid"
    kind: ClassVar[str] = "sigmoid"
