"""Or."""

from __future__ import annotations

from typing import ClassVar

from ipuc.ops.binary import BinaryElementwise


class Or(BinaryElementwise):
    """C = A or B; with broadcasting. Source: ONNX Or-7."""

    name: ClassVar[str] = "Or"
    flat: ClassVar[bool] = True
    kind: ClassVar[str] = "or"
