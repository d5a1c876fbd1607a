"""IsNaN."""

from __future__ import annotations

from typing import ClassVar

from ipuc.ops.unary import UnaryElementwise


class IsNaN(UnaryElementwise):
    """Whether an element is not a number. Source: ONNX IsNaN-20."""

    name: ClassVar[str] = "IsNaN"
    flat: ClassVar[bool] = True
    kind: ClassVar[str] = "is_nan"
