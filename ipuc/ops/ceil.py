"""Ceil."""

from __future__ import annotations

from typing import ClassVar

from ipuc.ops.unary import UnaryElementwise


class Ceil(UnaryElementwise):
    """Round up. Source: ONNX Ceil-13."""

    name: ClassVar[str] = "Ceil"
    flat: ClassVar[bool] = True
    kind: ClassVar[str] = "ceil"
