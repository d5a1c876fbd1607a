"""Mul."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from ipuc.graph.ir import Node
from ipuc.ops.binary import BinaryElementwise
from ipuc.ops.terms import Term
from ipuc.ops.writer import GraphWriter


class Mul(BinaryElementwise):
    """C = A * B; with broadcasting. Source: ONNX Mul-14."""

    name: ClassVar[str] = "Mul"
    kind: ClassVar[str] = "mul"

    def gradient(
        self, write: GraphWriter, node: Node, upstream: Sequence[str], wanted: Sequence[bool]
    ) -> Sequence[str]:
        """The other operand, times the result's."""
        names = node.inputs
        a, b, dy = (Term(write, name) for name in (*names, *upstream))
        return [
            (dy * other).to(write.shape(name)) if asked else ""
            for name, other, asked in zip(names, (b, a), wanted, strict=True)
        ]
