"""BitwiseOr."""

from __future__ import annotations

from typing import ClassVar

from ipuc.ops.binary import BinaryElementwise


class BitwiseOr(BinaryElementwise):
    """Bits set in A or in B; with broadcasting. Source: ONNX BitwiseOr-18."""

    name: ClassVar[str] = "BitwiseOr"
    flat: ClassVar[bool] = True
    kind: ClassVar[str] = "bit_or"
