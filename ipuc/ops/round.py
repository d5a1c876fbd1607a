"""Round."""

from __future__ import annotations

from typing import ClassVar

from ipuc.ops.unary import UnaryElementwise


class Round(UnaryElementwise):
    """Round to the nearest whole number, halves to the even one. Source: ONNX Round-22."""

    name: ClassVar[str] = "Round"
    flat: ClassVar[bool] = True
    kind: ClassVar[str] = "round"
