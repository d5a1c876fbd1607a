"""Div."""

from __future__ import annotations

from typing import ClassVar

from ipuc.ops.binary import BinaryElementwise


class Div(BinaryElementwise):
    """C = A / B, whole numbers rounded towards zero; with broadcasting. Source: ONNX Div-14."""

    name: ClassVar[str] = "Div"
    kind: ClassVar[str] = "div"
