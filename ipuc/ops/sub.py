"""Sub."""

from __future__ import annotations

from typing import ClassVar

from ipuc.ops.binary import BinaryElementwise


class Sub(BinaryElementwise):
    """C = A - B; with broadcasting. Source: ONNX Sub-14."""

    name: ClassVar[str] = "Sub"
    kind: ClassVar[str] = "sub"
