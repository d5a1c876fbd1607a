"""Unsqueeze."""

from __future__ import annotations

from typing import ClassVar

from ipuc.ops.shaping import Reshaping


class Unsqueeze(Reshaping):
    """Insert axes of extent 1. Source: ONNX Unsqueeze-1 (attribute), Unsqueeze-13 (input)."""

    name: ClassVar[str] = "Unsqueeze"
    shape_inputs: ClassVar[tuple[int, ...]] = (1,)
