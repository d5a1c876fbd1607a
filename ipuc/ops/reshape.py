"""Reshape."""

from __future__ import annotations

from typing import ClassVar

from ipuc.ops.shaping import Reshaping


class Reshape(Reshaping):
    """Another shape, with 0 (keep), -1 (the rest) and `allowzero`. Source: ONNX Reshape-25."""

    name: ClassVar[str] = "Reshape"
    shape_inputs: ClassVar[tuple[int, ...]] = (1,)
