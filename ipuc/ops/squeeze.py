"""Squeeze."""

from __future__ import annotations

from typing import ClassVar

from ipuc.ops.shaping import Reshaping


class Squeeze(Reshaping):
    """Drop axes of extent 1. Source: ONNX Squeeze-1 (attribute), Squeeze-13 (input)."""

    name: ClassVar[str] = "Squeeze"
    shape_inputs: ClassVar[tuple[int, ...]] = (1,)
