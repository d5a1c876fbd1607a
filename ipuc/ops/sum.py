"""Sum."""

from __future__ import annotations

from typing import ClassVar

from ipuc.ops.variadic import VariadicElementwise


class Sum(VariadicElementwise):
    """Sum of all inputs, with broadcasting. Source: ONNX Sum-13."""

    name: ClassVar[str] = "Sum"
    kind: ClassVar[str] = "add"
