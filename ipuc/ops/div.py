"""Div."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from ipuc.graph.ir import Node
from ipuc.ops.binary import BinaryElementwise
from ipuc.ops.terms import Term
from ipuc.ops.writer import GraphWriter


class Div(BinaryElementwise):
    """C = A / B, whole numbers rounded towards zero; with broadcasting. Source: ONNX Div-14."""

    name: ClassVar[str] = "Div"
    kind: ClassVar[str] = "div"

    def gradient(
        self, write: GraphWriter, node: Node, upstream: Sequence[str], wanted: Sequence[bool]
    ) -> Sequence[str]:
        """1 / b, and -y / b."""
        a, b = node.inputs
        y, dy, divisor = (Term(write, name) for name in (*node.outputs, *upstream, b))
        share = dy / divisor
        return [
            share.to(write.shape(a)) if wanted[0] else "",
            (-share * y).to(write.shape(b)) if wanted[1] else "",
        ]
