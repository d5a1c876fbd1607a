"""Max."""

from __future__ import annotations

from typing import ClassVar

from ipuc.ops.variadic import VariadicElementwise


class Max(VariadicElementwise):
    """Greatest of all inputs, with broadcasting. Source: ONNX Max-13."""

    name: ClassVar[str] = "Max"
    kind: ClassVar[str] = "max"
