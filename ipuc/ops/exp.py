"""Exp."""

from __future__ import annotations

from typing import ClassVar

from ipuc.ops.unary import UnaryElementwise


class Exp(UnaryElementwise):
    """Y = e ** x. Source: ONNX Exp-13."""

    name: ClassVar[str] = "Exp"
    kind: ClassVar[str] = "exp"
