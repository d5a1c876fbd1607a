"""HardSigmoid."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from ipuc.ops.unary import UnaryElementwise


class HardSigmoid(UnaryElementwise):
    """Y = max(0, min(1, alpha * x + beta)). Source: ONNX HardSigmoid-22."""

    name: ClassVar[str] = "HardSigmoid"
    kind: ClassVar[str] = "hard_sigmoid"
    numbers: ClassVar[Mapping[str, float]] = {"alpha": 0.2, "beta": 0.5}
