"""IsInf."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from ipuc.ops.unary import UnaryElementwise


class IsInf(UnaryElementwise):
    """Whether an element is an infinity of a sign that is asked for. Source: ONNX IsInf-20."""

    name: ClassVar[str] = "IsInf"
    flat: ClassVar[bool] = True
    kind: ClassVar[str] = "is_inf"
    numbers: ClassVar[Mapping[str, float]] = {"detect_negative": 1, "detect_positive": 1}
