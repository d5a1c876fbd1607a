"""GreaterOrEqual."""

from __future__ import annotations

from typing import ClassVar

from ipuc.ops.binary import BinaryElementwise


class GreaterOrEqual(BinaryElementwise):
    """Whether A >= B; with broadcasting. Source: ONNX GreaterOrEqual-16."""

    name: ClassVar[str] = "GreaterOrEqual"
    flat: ClassVar[bool] = True
    kind: ClassVar[str] = "ge"
