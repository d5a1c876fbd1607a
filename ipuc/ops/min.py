"""Min."""

from __future__ import annotations

from typing import ClassVar

from ipuc.ops.variadic import VariadicElementwise


class Min(VariadicElementwise):
    """Least of all inputs, with broadcasting. Source: ONNX Min-13."""

    name: ClassVar[str] = "Min"
    kind: ClassVar[str] = "min"
