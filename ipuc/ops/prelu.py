"""PRelu."""

from __future__ import annotations

from typing import ClassVar

from ipuc.ops.binary import BinaryElementwise


class PRelu(BinaryElementwise):
    """Y = x, or slope * x below 0; with broadcasting. Source: ONNX PRelu-16."""

    name: ClassVar[str] = "PRelu"
    kind: ClassVar[str] = "prelu"
