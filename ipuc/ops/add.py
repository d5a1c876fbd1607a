"""Add."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from ipuc.graph.ir import Node
from ipuc.ops.binary import BinaryElementwise
from ipuc.ops.writer import GraphWriter


class Add(BinaryElementwise):
    """C = A + B with NumPy broadcasting. Source: ONNX Add-14."""

    name: ClassVar[str] = "Add"
    kind: ClassVar[str] = "add"

    def gradient(
        self, write: GraphWriter, node: Node, upstream: Sequence[str], wanted: Sequence[bool]
    ) -> Sequence[str]:
        """It passes to every input, summed where that was broadcast."""
        (dy,) = upstream
        return [
            write.sum_to(dy, write.shape(name)) if asked else ""
            for name, asked in zip(node.inputs, wanted, strict=True)
        ]
