"""HardSwish."""

from __future__ import annotations

from typing import ClassVar

from ipuc.ops.unary import UnaryElementwise


class HardSwish(UnaryElementwise):
    """Y = x * max(0, min(1, x / 6 + 1 / 2)). Source: ONNX HardSwish-22."""

    name: ClassVar[str] = "HardSwish"
    kind: ClassVar[str] = "hard_swish"
