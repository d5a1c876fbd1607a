"""Flatten."""

from __future__ import annotations

from typing import ClassVar

from ipuc.ops.shaping import Reshaping


class Flatten(Reshaping):
    """Two axes: those before `axis` merged, and the rest merged. Source: ONNX Flatten-25."""

    name: ClassVar[str] = "Flatten"
