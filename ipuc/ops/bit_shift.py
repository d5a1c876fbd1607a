"""BitShift."""

from __future__ import annotations

from typing import ClassVar

from ipuc.graph.ir import Node
from ipuc.ops.binary import BinaryElementwise


class BitShift(BinaryElementwise):
    """Shift the bits of A by B places. Source: ONNX BitShift-11."""

    name: ClassVar[str] = "BitShift"
    flat: ClassVar[bool] = True

    def operation(self, node: Node) -> str:
        """Choose by the attribute `direction`."""
        return "shift_left" if node.attributes["direction"] == "LEFT" else "shift_right"
