"""Sign."""

from __future__ import annotations

from typing import ClassVar

from ipuc.ops.unary import UnaryElementwise


class Sign(UnaryElementwise):
    """Y = -1, 0 or 1. Source: ONNX Sign-13."""

    name: ClassVar[str] = "Sign"
    flat: ClassVar[bool] = True
    kind: ClassVar[str] = "sign"
