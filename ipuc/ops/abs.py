"""Abs."""

from __future__ import annotations

from typing import ClassVar

from ipuc.ops.unary import UnaryElementwise


class Abs(UnaryElementwise):
    """Y = |x|. Source: ONNX Abs-13."""

    name: ClassVar[str] = "Abs"
    kind: ClassVar[str] = "abs"
