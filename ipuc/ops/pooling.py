"""What the pooling operators have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from ipuc.codelets.pool import Pool
from ipuc.graph.ir import Node
from ipuc.ops.define import Op
from ipuc.ops.reducing import mean, norm, plain
from ipuc.ops.windowed import output_padding, slides_of, written_out
from ipuc.ops.writer import GraphWriter
from ipuc.planner.context import Context
from ipuc.planner.pool_blocks import Part, covers
from ipuc.planner.pooling import pool
from ipuc.planner.window import Slide
from ipuc.program.tensor import Tensor
from ipuc.types import Shape


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

    @classmethod
    def slides(cls, ctx: Context, node: Node) -> tuple[Slide, ...]:
        """The sliding window of each field dimension."""
        return cls.windows(node, ctx.type(node.inputs[0]).shape, ctx.type(node.outputs[0]).shape)

    @staticmethod
    def windows(node: Node, data: Shape, result: Shape) -> tuple[Slide, ...]:
        """The same, from the shapes [batch, channels, ...] of input and output."""
        kernel = tuple(int(k) for k in node.attributes["kernel_shape"])
        return slides_of(node, data[2:], kernel, result[2:])

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


def shares(write: GraphWriter, dy: str, slides: Sequence[Slide], ends: Sequence[int | None]) -> str:
    """Write the gradient of a mean over windows: dy's share for every element of each window.

    Args:
        write: takes the node.
        dy: gradient of the means: [batch, channels, *out].
        slides: one per field dimension.
        ends: see `Pooling.counted_ends`.
    """
    attributes = written_out(slides)
    pads, dims = attributes["pads"], len(slides)
    counted = [s.field if end is None else s.pad + end for s, end in zip(slides, ends, strict=True)]
    over = [0 if end is not None else s.pad for s, end in zip(slides, ends, strict=True)]
    for s, end, extent, pad in zip(slides, ends, counted, pads[dims:], strict=True):
        reach = (s.out - 1) * s.stride + (s.kernel - 1) * s.dilation + 1
        over.append(pad if end is None else max(0, reach - extent))
    return write.own(
        "AveragePoolGrad",
        dy,
        kernel_shape=[s.kernel for s in slides],
        output_padding=output_padding(slides),
        counted=counted,
        counted_pads=over,
        **attributes,
    )
