"""Identity."""

from __future__ import annotations

from typing import ClassVar

from ipuc.ops.shaping import Reshaping


class Identity(Reshaping):
    """y = x. Source: ONNX Identity-25."""

    name: ClassVar[str] = "Identity"
