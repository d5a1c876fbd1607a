"""Relu."""

from __future__ import annotations

from typing import ClassVar

from ipuc.ops.unary import UnaryElementwise


class Relu(UnaryElementwise):
    """y = max(x, 0). Source: ONNX Relu-14."""

    name: ClassVar[str] = "Relu"
    kind: ClassVar[str] = "relu"
