"""Gelu."""

from __future__ import annotations

from typing import ClassVar

from ipuc.graph.ir import Node
from ipuc.ops.unary import UnaryElementwise


class Gelu(UnaryElementwise):
    """Y = x * P(a normal variable < x), exactly or by tanh. Source: ONNX Gelu-20."""

    name: ClassVar[str] = "Gelu"

    def operation(self, node: Node) -> tuple[str, tuple[float, ...]]:
        """Choose by the attribute `approximate`."""
        by_tanh = node.attributes.get("approximate", "none") == "tanh"
        return ("gelu_tanh" if by_tanh else "gelu"), ()
