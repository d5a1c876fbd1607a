"""Mul."""

from __future__ import annotations

from typing import ClassVar

from ipuc.ops.binary import BinaryElementwise


class Mul(BinaryElementwise):
    """C = A * B; with broadcasting. Source: ONNX Mul-14."""

    name: ClassVar[str] = "Mul"
    kind: ClassVar[str] = "mul"
