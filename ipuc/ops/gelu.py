"""Gelu."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

from ipuc.graph.ir import Node
from ipuc.ops.terms import Term
from ipuc.ops.unary import UnaryElementwise
from ipuc.ops.writer import GraphWriter


class Gelu(UnaryElementwise):
    """Y = x * P(a normal variable < x), exactly or by tanh. Source: ONNX Gelu-20."""

    name: ClassVar[str] = "Gelu"

    def gradient(
        self, write: GraphWriter, node: Node, upstream: Sequence[str], wanted: Sequence[bool]
    ) -> Sequence[str]:
        """That of the result, times the slope of the form that the node asks for."""
        del wanted
        x, dy = Term(write, node.inputs[0]), Term(write, upstream[0])
        kind, _ = self.operation(node)
        return [(dy * _SLOPES[kind](x)).name]

    def operation(self, node: Node) -> tuple[str, tuple[float, ...]]:
        """Choose by the attribute `approximate`."""
        by_tanh = node.attributes.get("approximate", "none") == "tanh"
        return ("gelu_tanh" if by_tanh else "gelu"), ()


def _exact_slope(x: Term) -> Term:
    """P(a normal variable < x), plus x times its density at x."""
    share = ((x * math.sqrt(0.5)).op("Erf") + 1) * 0.5
    return share + x * ((x * x * -0.5).op("Exp") * (1 / math.sqrt(2 * math.pi)))


def _tanh_slope(x: Term) -> Term:
    """The slope of x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x ** 3)))."""
    root, cubic = math.sqrt(2 / math.pi), 0.044715
    square = x * x
    inner = (x * (square * cubic + 1) * root).op("Tanh")
    steep = (square * (3 * cubic) + 1) * root
    return ((inner + 1) + (1 - inner * inner) * (x * steep)) * 0.5


_SLOPES = {"gelu": _exact_slope, "gelu_tanh": _tanh_slope}
