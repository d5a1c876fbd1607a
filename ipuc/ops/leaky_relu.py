"""LeakyRelu."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from ipuc.ops.unary import UnaryElementwise


class LeakyRelu(UnaryElementwise):
    """Y = x, or alpha * x below 0. Source: ONNX LeakyRelu-16."""

    name: ClassVar[str] = "LeakyRelu"
    kind: ClassVar[str] = "leaky_relu"
    numbers: ClassVar[Mapping[str, float]] = {"alpha": 0.01}
