"""Relu."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from ipuc.graph.ir import Node
from ipuc.ops.unary import UnaryElementwise
from ipuc.ops.writer import GraphWriter


class Relu(UnaryElementwise):
    """y = max(x, 0). Source: ONNX Relu-14."""

    name: ClassVar[str] = "Relu"
    kind: ClassVar[str] = "relu"

    def gradient(
        self, write: GraphWriter, node: Node, upstream: Sequence[str], wanted: Sequence[bool]
    ) -> Sequence[str]:
        """It passes where the result is positive; at 0 it is 0, as in PyTorch."""
        del wanted
        return [write.own("ReluGrad", node.outputs[0], upstream[0])]
