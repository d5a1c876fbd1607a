"""ThresholdedRelu."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from ipuc.ops.unary import UnaryElementwise


class ThresholdedRelu(UnaryElementwise):
    """Y = x where x > alpha, else 0. Source: ONNX ThresholdedRelu-22."""

    name: ClassVar[str] = "ThresholdedRelu"
    kind: ClassVar[str] = "thresholded_relu"
    numbers: ClassVar[Mapping[str, float]] = {"alpha": 1.0}
