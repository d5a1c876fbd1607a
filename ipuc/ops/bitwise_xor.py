"""BitwiseXor."""

from __future__ import annotations

from typing import ClassVar

from ipuc.ops.binary import BinaryElementwise


class BitwiseXor(BinaryElementwise):
    """Bits set in A or in B, not both; with broadcasting. Source: ONNX BitwiseXor-18."""

    name: ClassVar[str] = "BitwiseXor"
    flat: ClassVar[bool] = True
    kind: ClassVar[str] = "bit_xor"
