"""Equal."""

from __future__ import annotations

from typing import ClassVar

from ipuc.ops.binary import BinaryElementwise


class Equal(BinaryElementwise):
    """Whether A = B; with broadcasting. Source: ONNX Equal-19."""

    name: ClassVar[str] = "Equal"
    flat: ClassVar[bool] = True
    kind: ClassVar[str] = "eq"
