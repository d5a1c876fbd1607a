"""Erf."""

from __future__ import annotations

from typing import ClassVar

from ipuc.ops.unary import UnaryElementwise


class Erf(UnaryElementwise):
    """The error function. Source: ONNX Erf-13."""

    name: ClassVar[str] = "Erf"
    kind: ClassVar[str] = "erf"
