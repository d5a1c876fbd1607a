"""Less."""

from __future__ import annotations

from typing import ClassVar

from ipuc.ops.binary import BinaryElementwise


class Less(BinaryElementwise):
    """Whether A < B; with broadcasting. Source: ONNX Less-13."""

    name: ClassVar[str] = "Less"
    flat: ClassVar[bool] = True
    kind: ClassVar[str] = "lt"
