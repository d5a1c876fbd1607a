"""Max."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from ipuc.graph.ir import Node
from ipuc.ops.variadic import VariadicElementwise, share_among_equals
from ipuc.ops.writer import GraphWriter


class Max(VariadicElementwise):
    """Greatest of all inputs, with broadcasting. Source: ONNX Max-13."""

    name: ClassVar[str] = "Max"
    kind: ClassVar[str] = "max"

    def gradient(
        self, write: GraphWriter, node: Node, upstream: Sequence[str], wanted: Sequence[bool]
    ) -> Sequence[str]:
        """The greatest input gets it; equal ones share it, as in PyTorch."""
        return share_among_equals(write, node, upstream[0], wanted)
