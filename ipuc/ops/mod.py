"""Mod."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from ipuc.graph.ir import Node
from ipuc.ops.binary import BinaryElementwise
from ipuc.ops.terms import Term
from ipuc.ops.writer import GraphWriter


class Mod(BinaryElementwise):
    """Remainder, with the sign of the divisor, or with fmod=1 of the dividend.

    Source: ONNX Mod-13.
    """

    name: ClassVar[str] = "Mod"

    def operation(self, node: Node) -> str:
        """Choose by the attribute `fmod`."""
        return "fmod" if node.attributes.get("fmod", 0) else "mod"

    def gradient(
        self, write: GraphWriter, node: Node, upstream: Sequence[str], wanted: Sequence[bool]
    ) -> Sequence[str]:
        """1, and minus the whole number of times that b goes into a, which is (y - a) / b."""
        a, b, y, dy = (Term(write, name) for name in (*node.inputs, *node.outputs, *upstream))
        return [
            dy.to(write.shape(a.name)) if wanted[0] else "",
            (dy * ((y - a) / b)).to(write.shape(b.name)) if wanted[1] else "",
        ]
