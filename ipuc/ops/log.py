"""Log."""

from __future__ import annotations

from typing import ClassVar

from ipuc.ops.unary import UnaryElementwise


class Log(UnaryElementwise):
    """Y = ln x. Source: ONNX Log-13."""

    name: ClassVar[str] = "Log"
    kind: ClassVar[str] = "log"
