"""What the pooling operators have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from ipuc.codelets.pool import Pool
from ipuc.graph.ir import Node
from ipuc.ops.define import Op
from ipuc.ops.reducing import mean, norm, plain
from ipuc.ops.windowed import slides_of
from ipuc.planner.context import Context
from ipuc.planner.pool_blocks import Part, covers
from ipuc.planner.pooling import pool
from ipuc.planner.window import Slide
from ipuc.program.tensor import Tensor


class Pooling(Op):
    """An operator that slides a window over the field; `kind` is the codelet's."""

    kind: ClassVar[str]

    def lower(self, ctx: Context, node: Node) -> None:
        """One compute set; borders have families of their own.

        A window that is the whole field is a reduction. Source: PopLibs popnn Pooling.cpp.
        """
        x = ctx.tensor(node.inputs[0])
        output = node.outputs[0]
        slides = self.slides(ctx, node)
        if x.size and covers(slides):
            ctx.define(output, self.reduced(ctx, node, x))
            return
        ends = self.counted_ends(node, slides)

        def make(field: Sequence[Part]) -> Pool:
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

    def reduced(self, ctx: Context, node: Node, x: Tensor) -> Tensor:
        """What one window over the whole field gives: [batch, channels, 1, ...]."""
        output, axes = node.outputs[0], range(2, len(x.shape))
        if self.kind == "max":
            return plain(ctx, "max", x, axes, output)
        if self.kind == "mean":
            return mean(ctx, x, axes, output, x.dtype)
        return norm(ctx, x, axes, float(node.attributes.get("p", 2)), output, x.dtype)

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


def _counted(part: Part, slide: Slide, end: int | None) -> tuple[int, int]:
    """How many of a block's missing elements count: those inside the declared padding."""
    if end is None:
        return (0, 0)
    before, after = part.pads
    last = int(part.begin[0]) + part.size - 1
    reach = last * slide.stride + (slide.kernel - 1) * slide.dilation + 1 - slide.pad
    return before, max(0, after - max(0, reach - end))
