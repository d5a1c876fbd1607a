"""Add."""

from __future__ import annotations

from typing import ClassVar

from ipuc.ops.binary import BinaryElementwise


class Add(BinaryElementwise):
    """C = A + B with NumPy broadcasting. Source: ONNX Add-14."""

    name: ClassVar[str] = "Add"
    kind: ClassVar[str] = "add"
