"""LpPool."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

from ipuc.graph.ir import Node
from ipuc.ops.pooling import Pooling, shares
from ipuc.ops.windowed import written_out
from ipuc.ops.writer import GraphWriter


class LpPool(Pooling):
    """The p-norm of each window. Source: ONNX LpPool-18."""

    name: ClassVar[str] = "LpPool"
    kind: ClassVar[str] = "norm"

    def gradient(
        self, write: GraphWriter, node: Node, upstream: Sequence[str], wanted: Sequence[bool]
    ) -> Sequence[str]:
        """sign(x) |x|^(p-1) times the sum of dy y^(1-p) over the windows that hold x.

        Where a norm is 0 so is its gradient; PyTorch has not-a-number there.
        """
        del wanted
        (x,), (y,), (dy,) = node.inputs, node.outputs, upstream
        slides = self.windows(node, write.shape(x), write.shape(y))
        p = float(node.attributes.get("p", 2))
        weighted = dy
        if p != 1:
            empty = write.op("Equal", y, write.scalar(0.0, y))
            safe = write.op("Where", empty, write.scalar(1.0, y), y)
            weighted = write.op("Div", dy, _power(write, safe, p - 1))
        # every place of a window counts, whatever lies there
        behind = written_out(slides)["pads"][len(slides) :]
        ends = [s.field + n for s, n in zip(slides, behind, strict=True)]
        spread = shares(write, weighted, slides, ends)
        sums = write.scaled(spread, math.prod(s.kernel for s in slides))
        if p == 2:
            return [write.mul(sums, x)]
        turned = write.mul(sums, write.op("Sign", x))
        if p == 1:
            return [turned]
        return [write.mul(turned, _power(write, write.op("Abs", x), p - 1))]


def _power(write: GraphWriter, x: str, exponent: float) -> str:
    return x if exponent == 1 else write.op("Pow", x, write.scalar(exponent, x))
