"""Mod."""

from __future__ import annotations

from typing import ClassVar

from ipuc.graph.ir import Node
from ipuc.ops.binary import BinaryElementwise


class Mod(BinaryElementwise):
    """Remainder, with the sign of the divisor, or with fmod=1 of the dividend.

    Source: ONNX Mod-13.
    """

    name: ClassVar[str] = "Mod"

    def operation(self, node: Node) -> str:
        """Choose by the attribute `fmod`."""
        return "fmod" if node.attributes.get("fmod", 0) else "mod"
