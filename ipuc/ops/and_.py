"""And."""

from __future__ import annotations

from typing import ClassVar

from ipuc.ops.binary import BinaryElementwise


class And(BinaryElementwise):
    """C = A and B; with broadcasting. Source: ONNX And-7."""

    name: ClassVar[str] = "And"
    flat: ClassVar[bool] = True
    kind: ClassVar[str] = "and"
