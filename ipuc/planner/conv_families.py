"""The vertex families of a convolution: one for each combination of border and part sizes."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ipuc.codelets.conv_partial import ConvPartial
from ipuc.planner.context import Context
from ipuc.planner.portions import FINE_ELEMENTS, row_major
from ipuc.planner.window import Slide, SlideParts, slide_parts
from ipuc.program.builder import ComputeSetBuilder
from ipuc.program.family import Access, separable
from ipuc.program.split import Parts, split_axis
from ipuc.program.tensor import Tensor, coalesce
from ipuc.types import Ints

#: Output channels that the matrix unit makes at once (conv units for float32).
OUT_GROUP = 8


@dataclass(frozen=True, slots=True)
class Conv:
    """A convolution to plan: extents, per group.

    Attributes:
        batch: images.
        groups: convolution groups.
        outs: output channels of a group.
        ins: input channels of a group.
        slides: one per field dimension.
    """

    batch: int
    groups: int
    outs: int
    ins: int
    slides: tuple[Slide, ...]

    @property
    def macs(self) -> int:
        """Multiply-adds of the dense convolution."""
        outputs = self.batch * self.groups * self.outs * math.prod(s.out for s in self.slides)
        return outputs * self.ins * math.prod(s.kernel for s in self.slides)


@dataclass(frozen=True, slots=True)
class ConvSplits:
    """Parts of each dimension, and how many input channels stay together."""

    group: int
    ins: int
    batch: int
    field: tuple[int, ...]
    outs: int
    in_grain: int


@dataclass(frozen=True, slots=True)
class ConvFamilies:
    """What the vertices of one convolution are made from.

    Attributes:
        ctx: the lowering.
        compute_set: where they go.
        conv: the problem.
        splits: the plan.
        x: [batch, groups, ins, *field], one factor per axis.
        weights: [groups, outs, ins, *kernel], one factor per axis.
        sums: row-major outputs, or [depth, outputs] of partial sums.
    """

    ctx: Context
    compute_set: ComputeSetBuilder
    conv: Conv
    splits: ConvSplits
    x: Tensor
    weights: Tensor
    sums: Tensor


@dataclass(frozen=True, slots=True)
class Block:
    """One combination of parts: grid axes group, ins, batch, field..., outs (and groups of it).

    Attributes:
        group: convolution groups.
        ins: input channels.
        batch: images.
        outs: output channels of a tile.
        inner: output channels of a vertex, where a tile has several.
        field: outputs along each field dimension.
    """

    group: Parts
    ins: Parts
    batch: Parts
    outs: Parts
    inner: Parts | None
    field: tuple[SlideParts, ...]


def partial_sums(ctx: Context, conv: Conv, splits: ConvSplits) -> int:
    """Partial sums that every output has: splits of input channels and of the kernel."""
    ins = sum(len(part) for part in _in_parts(ctx, conv, splits))
    return ins * len(_kernel_positions(ctx, conv))


def add_families(families: ConvFamilies) -> None:
    """Add every family of a convolution to its compute set."""
    ctx, conv = families.ctx, families.conv
    families.compute_set.workers = "all"  # the matrix unit serves all workers together
    positions = _kernel_positions(ctx, conv)
    for number, position in enumerate(positions):
        slides = conv.slides
        if position:  # the convolution of one kernel element is a 1x1 convolution, shifted
            slides = tuple(
                Slide(s.field, s.out, 1, s.stride, 1, s.pad - k * s.dilation)
                for s, k in zip(slides, position, strict=True)
            )
        for block in _blocks(families, slides):
            layer = block.ins.index * len(positions) + number
            _add_family(families, block, slides, position, layer)


def _kernel_positions(ctx: Context, conv: Conv) -> list[tuple[int, ...]]:
    """Kernel elements that have vertices of their own: all of them at `fine`, else none."""
    if ctx.granularity == "fine":
        return list(np.ndindex(*(s.kernel for s in conv.slides)))
    return [()]


def _in_parts(ctx: Context, conv: Conv, splits: ConvSplits) -> list[Parts]:
    if ctx.granularity == "fine":
        return split_axis(conv.ins, -(-conv.ins // FINE_ELEMENTS), FINE_ELEMENTS)
    return split_axis(conv.ins, splits.ins, splits.in_grain)


def _blocks(families: ConvFamilies, slides: tuple[Slide, ...]) -> Iterator[Block]:
    ctx, conv, splits = families.ctx, families.conv, families.splits
    parts = list(splits.field)
    if ctx.granularity == "fine":  # one row of outputs a vertex
        parts = [s.out for s in slides[:-1]] + parts[-1:]
    fields = [slide_parts(s, n) for s, n in zip(slides, parts, strict=True)]
    for group in split_axis(conv.groups, splits.group):
        for ins in _in_parts(ctx, conv, splits):
            for batch in split_axis(conv.batch, splits.batch):
                for outs in split_axis(conv.outs, splits.outs, OUT_GROUP):
                    for inner in _within(ctx, outs):
                        for field in itertools.product(*fields):
                            yield Block(group, ins, batch, outs, inner, field)


def _within(ctx: Context, outs: Parts) -> list[Parts | None]:
    """A tile's output channels: one vertex, or below granularity `tile` one per group of 8."""
    if ctx.granularity == "tile" or outs.size <= OUT_GROUP:
        return [None]
    return [*split_axis(outs.size, -(-outs.size // OUT_GROUP), OUT_GROUP)]


def _add_family(
    families: ConvFamilies,
    block: Block,
    slides: tuple[Slide, ...],
    position: tuple[int, ...],
    layer: Ints,
) -> None:
    conv, field = families.conv, block.field
    xs, ws = _strides(families.x), _strides(families.weights)
    outputs = (conv.batch, conv.groups, conv.outs, *(s.out for s in conv.slides))
    os = row_major(outputs)
    deep = len(families.sums.shape) == 2
    group, ins, batch, outs = block.group, block.ins, block.batch, block.outs
    still = [np.zeros_like(batch.index), *(np.zeros_like(f.index) for f in field)]
    x_tables = [group.begin * xs[1], ins.begin * xs[2], batch.begin * xs[0]]
    x_tables += [f.in_begin * s for f, s in zip(field, xs[3:], strict=True)]
    x_tables.append(np.zeros_like(outs.begin))
    w_tables = [group.begin * ws[0], ins.begin * ws[2], *still, outs.begin * ws[1]]
    o_tables = [
        group.begin * os[1],
        layer * math.prod(outputs) if deep else np.zeros_like(layer),
        batch.begin * os[0],
    ]
    o_tables += [f.out_begin * s for f, s in zip(field, os[3:], strict=True)]
    o_tables.append(outs.begin * os[2])
    tiles = _tiles(families, block)
    channels = outs.size
    if block.inner is not None:
        channels, begin = block.inner.size, block.inner.begin
        x_tables.append(np.zeros_like(begin))
        w_tables.append(begin * ws[1])
        o_tables.append(begin * os[2])
        tiles.append(np.zeros_like(begin))
    kernel = tuple(s.kernel for s in slides)
    shift = sum(k * s for k, s in zip(position, ws[3:], strict=True)) if position else 0
    lead = (batch.size, group.size)
    view_x, view_w, view_o = (
        families.ctx.builder.one_view(t) for t in (families.x, families.weights, families.sums)
    )
    families.compute_set.add(
        ConvPartial(
            tuple(s.stride for s in slides),
            tuple(s.dilation for s in slides),
            tuple(f.pads for f in field),
            families.ctx.partials(families.x.itemsize),
        ),
        separable(0, *tiles),
        x=Access(
            view_x.variable,
            separable(view_x.offset, *x_tables),
            (*lead, ins.size, *(f.in_size for f in field)),
            tuple(xs),
        ),
        weights=Access(
            view_w.variable,
            separable(view_w.offset + shift, *w_tables),
            (group.size, channels, ins.size, *kernel),
            tuple(ws),
        ),
        out=Access(
            view_o.variable,
            separable(view_o.offset, *o_tables),
            (*lead, channels, *(f.out_size for f in field)),
            tuple(os),
        ),
    )


def _tiles(families: ConvFamilies, block: Block) -> list[Ints]:
    """Tile number that each grid axis adds; output channels are innermost.

    Source: PopLibs Convolution.cpp.
    """
    conv, splits = families.conv, families.splits
    numbering = row_major([splits.group, splits.ins, splits.batch, *splits.field, splits.outs])
    ins, field = block.ins.index, [f.index for f in block.field]
    if families.ctx.granularity == "fine":  # stay on the tile whose share of the plan this is
        ins = np.minimum(block.ins.begin * splits.ins // conv.ins, splits.ins - 1)
        field = [
            f.out_begin * n // s.out
            for f, n, s in zip(block.field, splits.field, conv.slides, strict=True)
        ]
    parts = [block.group.index, ins, block.batch.index, *field, block.outs.index]
    return [part * stride for part, stride in zip(parts, numbering, strict=True)]


def _strides(tensor: Tensor) -> list[int]:
    view = tensor.view()
    assert view is not None
    return [(coalesce(axis) or ((1, 0),))[0][1] for axis in view.axes]
