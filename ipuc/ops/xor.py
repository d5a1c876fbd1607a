"""Xor."""

from __future__ import annotations

from typing import ClassVar

from ipuc.ops.binary import BinaryElementwise


class Xor(BinaryElementwise):
    """C = A or B, not both; with broadcasting. Source: ONNX Xor-7."""

    name: ClassVar[str] = "Xor"
    flat: ClassVar[bool] = True
    kind: ClassVar[str] = "xor"
