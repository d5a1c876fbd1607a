"""BitwiseNot."""

from __future__ import annotations

from typing import ClassVar

from ipuc.ops.unary import UnaryElementwise


class BitwiseNot(UnaryElementwise):
    """Every bit inverted. Source: ONNX BitwiseNot-18."""

    name: ClassVar[str] = "BitwiseNot"
    flat: ClassVar[bool] = True
    kind: ClassVar[str] = "bit_not"
