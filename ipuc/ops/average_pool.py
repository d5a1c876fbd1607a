"""AveragePool."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from ipuc.graph.ir import Node
from ipuc.ops.pooling import Pooling, shares
from ipuc.ops.writer import GraphWriter
from ipuc.planner.window import Slide


class AveragePool(Pooling):
    """Mean of each window; padding counts only if the node says so. Source: ONNX AveragePool-19."""

    name: ClassVar[str] = "AveragePool"
    kind: ClassVar[str] = "mean"

    def gradient(
        self, write: GraphWriter, node: Node, upstream: Sequence[str], wanted: Sequence[bool]
    ) -> Sequence[str]:
        """An equal share for every element that counts."""
        del wanted
        (dy,) = upstream
        slides = self.windows(node, write.shape(node.inputs[0]), write.shape(dy))
        return [shares(write, dy, slides, self.counted_ends(node, slides))]

    def counted_ends(self, node: Node, slides: tuple[Slide, ...]) -> list[int | None]:
        """With count_include_pad, zeros up to the declared padding count; ceil_mode's do not."""
        if not node.attributes.get("count_include_pad", 0):
            return [None] * len(slides)
        pads = node.attributes.get("pads")
        if pads:
            ends = [int(p) for p in pads[len(slides) :]]
        else:  # SAME: what the last window reaches
            ends = [
                max(0, (s.out - 1) * s.stride + (s.kernel - 1) * s.dilation + 1 - s.pad - s.field)
                if s.pad or _same(node)
                else 0
                for s in slides
            ]
        return [s.field + end for s, end in zip(slides, ends, strict=True)]


def _same(node: Node) -> bool:
    mode = node.attributes.get("auto_pad", "NOTSET")
    return (mode.decode() if isinstance(mode, bytes) else str(mode)).startswith("SAME")
