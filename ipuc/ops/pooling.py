"""What the pooling operators have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from ipuc.codelets.pool import Pool
from ipuc.graph.ir import Node
from ipuc.ops.define import Op
from ipuc.ops.windowed import slides_of
from ipuc.planner.context import Context
from ipuc.planner.pooling import pool
from ipuc.planner.window import Slide, SlideParts


class Pooling(Op):
    """An operator that slides a window over the field; `kind` is the codelet's."""

    kind: ClassVar[str]

    def lower(self, ctx: Context, node: Node) -> None:
        """One compute set; borders have families of their own."""
        x = ctx.tensor(node.inputs[0])
        output = node.outputs[0]
        slides = self.slides(ctx, node)
        ends = self.counted_ends(node, slides)

        def make(field: Sequence[SlideParts]) -> Pool:
            return Pool(
                self.kind,
                tuple(s.kernel for s in slides),
                tuple(s.stride for s in slides),
                tuple(s.dilation for s in slides),
                tuple(f.pads for f in field),
                tuple(_counted(f, s, end) for f, s, end in zip(field, slides, ends, strict=True)),
                int(node.attributes.get("p", 2)),
            )

        ctx.define(output, pool(ctx, {"x": x}, slides, make, x.dtype, output))

    @staticmethod
    def slides(ctx: Context, node: Node) -> tuple[Slide, ...]:
        """The sliding window of each field dimension."""
        field = ctx.type(node.inputs[0]).shape[2:]
        kernel = tuple(int(k) for k in node.attributes["kernel_shape"])
        return slides_of(node, field, kernel, ctx.type(node.outputs[0]).shape[2:])

    def counted_ends(self, node: Node, slides: tuple[Slide, ...]) -> list[int | None]:
        """Where the zeros that a mean counts end, per dimension; None if it counts none."""
        del node
        return [None] * len(slides)


def _counted(part: SlideParts, slide: Slide, end: int | None) -> tuple[int, int]:
    """How many of a block's missing elements count: those inside the declared padding."""
    if end is None:
        return (0, 0)
    before, after = part.pads
    last = int(part.out_begin[0]) + part.out_size - 1
    reach = last * slide.stride + (slide.kernel - 1) * slide.dilation + 1 - slide.pad
    return before, max(0, after - max(0, reach - end))
