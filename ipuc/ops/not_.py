"""Not."""

from __future__ import annotations

from typing import ClassVar

from ipuc.ops.unary import UnaryElementwise


class Not(UnaryElementwise):
    """Logical negation. Source: ONNX Not-1."""

    name: ClassVar[str] = "Not"
    flat: ClassVar[bool] = True
    kind: ClassVar[str] = "not"
