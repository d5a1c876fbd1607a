"""Floor."""

from __future__ import annotations

from typing import ClassVar

from ipuc.ops.unary import UnaryElementwise


class Floor(UnaryElementwise):
    """Round down. Source: ONNX Floor-13."""

    name: ClassVar[str] = "Floor"
    flat: ClassVar[bool] = True
    kind: ClassVar[str] = "floor"
