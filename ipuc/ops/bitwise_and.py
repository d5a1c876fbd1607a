"""BitwiseAnd."""

from __future__ import annotations

from typing import ClassVar

from ipuc.ops.binary import BinaryElementwise


class BitwiseAnd(BinaryElementwise):
    """Bits set in A and in B; with broadcasting. Source: ONNX BitwiseAnd-18."""

    name: ClassVar[str] = "BitwiseAnd"
    flat: ClassVar[bool] = True
    kind: ClassVar[str] = "bit_and"
