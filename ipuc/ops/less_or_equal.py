"""LessOrEqual."""

from __future__ import annotations

from typing import ClassVar

from ipuc.ops.binary import BinaryElementwise


class LessOrEqual(BinaryElementwise):
    """Whether A <= B; with broadcasting. Source: ONNX LessOrEqual-16."""

    name: ClassVar[str] = "LessOrEqual"
    flat: ClassVar[bool] = True
    kind: ClassVar[str] = "le"
