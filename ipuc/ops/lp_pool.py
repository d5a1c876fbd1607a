"""LpPool."""

from __future__ import annotations

from typing import ClassVar

from ipuc.ops.pooling import Pooling


class LpPool(Pooling):
    """The p-norm of each window. Source: ONNX LpPool-18."""

    name: ClassVar[str] = "LpPool"
    kind: ClassVar[str] = "norm"
