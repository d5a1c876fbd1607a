"""LRN."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from ipuc.codelets.lrn import LocalResponse
from ipuc.graph.ir import Node
from ipuc.ops.define import Op
from ipuc.ops.writer import GraphWriter
from ipuc.planner.context import Context
from ipuc.planner.neighbours import Read, along_channels


class LRN(Op):
    """Y = x / (bias + alpha / size * energy of neighbouring channels) ** beta.

    Source: ONNX LRN-13.
    """

    name: ClassVar[str] = "LRN"

    def gradient(
        self, write: GraphWriter, node: Node, upstream: Sequence[str], wanted: Sequence[bool]
    ) -> Sequence[str]:
        """A function of ours, which computes the energies again."""
        del wanted
        size, alpha, beta, bias = _numbers(node)
        lead, trail = (size - 1) // 2, size - 1 - (size - 1) // 2
        made = write.own(
            "LRNGrad",
            node.inputs[0],
            upstream[0],
            kernel=[size, 1],
            ahead=[lead, 0, trail, 0],
            behind=[trail, 0, lead, 0],
            alpha=alpha,
            beta=beta,
            bias=bias,
        )
        return [made]

    def lower(self, ctx: Context, node: Node) -> None:
        """One compute set."""
        x, (output,) = ctx.tensor(node.inputs[0]), node.outputs
        codelet = LocalResponse(*_numbers(node))
        read = Read(x, codelet.lead, codelet.size - 1 - codelet.lead)
        ctx.define(output, along_channels(ctx, codelet, {"x": read}, output))


def _numbers(node: Node) -> tuple[int, float, float, float]:
    """Size, alpha, beta and bias."""
    given = node.attributes
    return (
        int(given["size"]),
        float(given.get("alpha", 1e-4)),
        float(given.get("beta", 0.75)),
        float(given.get("bias", 1.0)),
    )
