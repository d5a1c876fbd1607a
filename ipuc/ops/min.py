"""Min."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from ipuc.graph.ir import Node
from ipuc.ops.variadic import VariadicElementwise, share_among_equals
from ipuc.ops.writer import GraphWriter


class Min(VariadicElementwise):
    """Least of all inputs, with broadcasting. Source: ONNX Min-13."""

    name: ClassVar[str] = "Min"
    kind: ClassVar[str] = "min"

    def gradient(
        self, write: GraphWriter, node: Node, upstream: Sequence[str], wanted: Sequence[bool]
    ) -> Sequence[str]:
        """The least input gets it; equal ones share it, as in PyTorch."""
        return share_among_equals(write, node, upstream[0], wanted)
