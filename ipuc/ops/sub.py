"""Sub."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from ipuc.graph.ir import Node
from ipuc.ops.binary import BinaryElementwise
from ipuc.ops.terms import Term
from ipuc.ops.writer import GraphWriter


class Sub(BinaryElementwise):
    """C = A - B; with broadcasting. Source: ONNX Sub-14."""

    name: ClassVar[str] = "Sub"
    kind: ClassVar[str] = "sub"

    def gradient(
        self, write: GraphWriter, node: Node, upstream: Sequence[str], wanted: Sequence[bool]
    ) -> Sequence[str]:
        """It passes to the first operand, and turned to the second; summed where broadcast."""
        a, b = (write.shape(name) for name in node.inputs)
        dy = Term(write, upstream[0])
        return [dy.to(a) if wanted[0] else "", (-dy).to(b) if wanted[1] else ""]
