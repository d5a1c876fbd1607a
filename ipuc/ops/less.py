"""Less."""

from __future__ import annotations

from typing import ClassVar

from ipuc.ops.binary import BinaryElementwise


class Less(BinaryElementwise):
    """Whether A < B; with broadcasting. Source: ONNX Less-13."""

    name: ClassVar[str] = "Less"
    kind: ClassVar[str] = "lt"
