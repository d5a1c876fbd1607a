"""The vertex families of a convolution: one for each combination of border and part sizes."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from ipuc.codelets.cast import Cast
from ipuc.planner.context import Context
from ipuc.planner.conv_plan import ConvPlan
from ipuc.planner.portions import FINE_ELEMENTS
from ipuc.planner.window import SlideParts, slide_parts
from ipuc.program.builder import ComputeSetBuilder
from ipuc.program.family import Access, separable
from ipuc.program.split import Parts, split_axis
from ipuc.program.tensor import Tensor, axis_offsets, coalesce
from ipuc.types import Ints


@dataclass(frozen=True, slots=True)
class ConvFamilies:
    """What the vertices of one convolution are made from.

    Attributes:
        ctx: the lowering.
        compute_set: where they go.
        plan: the plan; its convolution is that of one serial step.
        x: [batch, groups, ins, *field], one factor per axis.
        weights: [groups, outs, ins, *kernel], one factor per axis.
        sums: [depth, batch, groups, outs, *out], one factor per axis.
    """

    ctx: Context
    compute_set: ComputeSetBuilder
    plan: ConvPlan
    x: Tensor
    weights: Tensor
    sums: Tensor


@dataclass(frozen=True, slots=True)
class Block:
    """One combination of parts: grid axes group, ins, batch, field..., outs (and groups of it).

    Attributes:
        group: convolution groups.
        ins: input channels.
        kernel: which part of each kernel dimension.
        batch: images.
        outs: output channels of a tile.
        inner: output channels of a vertex, where a tile has several.
        field: outputs along each field dimension.
    """

    group: Parts
    ins: Parts
    kernel: tuple[Parts, ...]
    batch: Parts
    outs: Parts
    inner: Parts | None
    field: tuple[SlideParts, ...]


def partial_sums(ctx: Context, plan: ConvPlan) -> int:
    """Partial sums that every output has: parts of input channels times parts of the kernel."""
    kernels = (_count(parts) for parts in _kernel_parts(ctx, plan))
    return _count(_in_parts(ctx, plan)) * math.prod(kernels)


def add_families(families: ConvFamilies) -> None:
    """Add every family of a convolution to its compute set."""
    families.compute_set.workers = "all"  # the matrix unit serves all workers together
    for block in _blocks(families):
        _add_family(families, block)


def add_casts(families: ConvFamilies, compute_set: ComputeSetBuilder, out: Tensor) -> None:
    """Convert sums where they were made, one vertex for each that made them.

    Args:
        families: whose sums; every output has one.
        compute_set: where the vertices go.
        out: [1, batch, groups, outs, *out], one factor per axis.
    """
    codelet = Cast(families.sums.dtype, out.dtype)
    for block in _blocks(families):
        compute_set.add(
            codelet,
            separable(0, *_tiles(families, block)),
            x=_out_access(families, block, families.sums),
            out=_out_access(families, block, out),
        )


def _count(groups: list[Parts]) -> int:
    return sum(len(part) for part in groups)


def _kernel_parts(ctx: Context, plan: ConvPlan) -> list[list[Parts]]:
    """Parts of each kernel dimension: single elements at `fine`."""
    return [
        split_axis(s.kernel, s.kernel if ctx.granularity == "fine" else parts)
        for s, parts in zip(plan.conv.slides, plan.splits.kernel, strict=True)
    ]


def _in_parts(ctx: Context, plan: ConvPlan) -> list[Parts]:
    conv, splits = plan.conv, plan.splits
    if ctx.granularity == "fine":
        return split_axis(conv.ins, -(-conv.ins // FINE_ELEMENTS), FINE_ELEMENTS)
    return split_axis(conv.ins, splits.ins, splits.in_group)


def _blocks(families: ConvFamilies) -> Iterator[Block]:
    ctx, conv, splits = families.ctx, families.plan.conv, families.plan.splits
    parts = list(splits.field)
    if ctx.granularity == "fine":  # one row of outputs a vertex
        parts = [s.out for s in conv.slides[:-1]] + parts[-1:]
    grains = [1] * (len(parts) - 1) + [splits.field_grain]
    kernels = [list(_singly(groups)) for groups in _kernel_parts(ctx, families.plan)]
    for kernel in itertools.product(*kernels):
        slides = [s.part(int(k.begin[0]), k.size) for s, k in zip(conv.slides, kernel, strict=True)]
        fields = [
            slide_parts(s, n, grain) for s, n, grain in zip(slides, parts, grains, strict=True)
        ]
        for group, ins, batch, outs in itertools.product(
            split_axis(conv.groups, splits.group, splits.bundle),
            _in_parts(ctx, families.plan),
            split_axis(conv.batch, splits.batch),
            split_axis(conv.outs, splits.outs, splits.out_group),
        ):
            for inner in _within(ctx, outs, splits.out_group):
                for field in itertools.product(*fields):
                    yield Block(group, ins, kernel, batch, outs, inner, field)


def _singly(groups: list[Parts]) -> Iterator[Parts]:
    """Parts one by one: a part of the kernel has a border of its own."""
    for parts in groups:
        for number in range(len(parts)):
            yield Parts(
                parts.index[number : number + 1], parts.begin[number : number + 1], parts.size
            )


def _within(ctx: Context, outs: Parts, grain: int) -> list[Parts | None]:
    """A tile's output channels: one vertex, or below granularity `tile` one per group."""
    if ctx.granularity == "tile" or outs.size <= grain:
        return [None]
    return [*split_axis(outs.size, -(-outs.size // grain), grain)]


def _add_family(families: ConvFamilies, block: Block) -> None:
    plan, field = families.plan, block.field
    group, ins, batch, outs = block.group, block.ins, block.batch, block.outs
    xs, ws = _strides(families.x), _strides(families.weights)
    still = [np.zeros_like(batch.index), *(np.zeros_like(f.index) for f in field)]
    x_tables = [
        _begins(families.x, 1, group.begin),
        ins.begin * xs[2],
        batch.begin * xs[0],
        *(f.in_begin * s for f, s in zip(field, xs[3:], strict=True)),
        np.zeros_like(outs.begin),
    ]
    w_tables = [
        _begins(families.weights, 0, group.begin),
        ins.begin * ws[2],
        *still,
        outs.begin * ws[1],
    ]
    tiles = _tiles(families, block)
    channels = outs.size
    if block.inner is not None:
        channels, begin = block.inner.size, block.inner.begin
        x_tables.append(np.zeros_like(begin))
        w_tables.append(begin * ws[1])
    shift = sum(int(k.begin[0]) * s for k, s in zip(block.kernel, ws[3:], strict=True))
    lead = (batch.size, group.size)
    view_x, view_w = (families.ctx.builder.one_view(t) for t in (families.x, families.weights))
    slides = plan.conv.slides
    families.compute_set.add(
        replace(
            plan.vertex,
            stride=tuple(s.stride for s in slides),
            dilation=tuple(s.dilation for s in slides),
            spread=tuple(s.spread for s in slides),
            pads=tuple(f.pads for f in field),
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
            (group.size, channels, ins.size, *(k.size for k in block.kernel)),
            tuple(ws),
        ),
        out=_out_access(families, block, families.sums),
    )


def _out_access(families: ConvFamilies, block: Block, tensor: Tensor) -> Access:
    """A block's window of [depth, batch, groups, outs, *out]."""
    view, strides = families.ctx.builder.one_view(tensor), _strides(tensor)
    group, batch, outs, field = block.group, block.batch, block.outs, block.field
    tables = [
        _begins(tensor, 2, group.begin),
        _layers(families, block) * strides[0],
        batch.begin * strides[1],
        *(f.out_begin * s for f, s in zip(field, strides[4:], strict=True)),
        outs.begin * strides[3],
    ]
    channels = outs.size
    if block.inner is not None:
        channels = block.inner.size
        tables.append(block.inner.begin * strides[3])
    return Access(
        view.variable,
        separable(view.offset, *tables),
        (batch.size, group.size, channels, *(f.out_size for f in field)),
        tuple(strides[1:]),
    )


def _layers(families: ConvFamilies, block: Block) -> Ints:
    """Which partial sum each part of the input channels makes, for this part of the kernel."""
    number: Ints = block.ins.index
    for groups, part in zip(_kernel_parts(families.ctx, families.plan), block.kernel, strict=True):
        number = number * _count(groups) + int(part.index[0])
    return number


def _tiles(families: ConvFamilies, block: Block) -> list[Ints]:
    """Tile number that each grid axis adds."""
    conv, splits = families.plan.conv, families.plan.splits
    rank = len(conv.slides)
    of_group, of_ins, *rest = splits.numbering
    of_kernel, of_batch, of_field, of_outs = (
        rest[:rank],
        rest[rank],
        rest[rank + 1 : -1],
        rest[-1],
    )
    ins, field = block.ins.index, [f.index for f in block.field]
    kernel = [int(k.index[0]) for k in block.kernel]
    if families.ctx.granularity == "fine":  # stay on the tile whose share of the plan this is
        ins = np.minimum(block.ins.begin * splits.ins // conv.ins, splits.ins - 1)
        field = [
            f.out_begin * n // s.out
            for f, n, s in zip(block.field, splits.field, conv.slides, strict=True)
        ]
        kernel = [
            k * n // s.kernel for k, n, s in zip(kernel, splits.kernel, conv.slides, strict=True)
        ]
    base = sum(k * stride for k, stride in zip(kernel, of_kernel, strict=True))
    inner = [] if block.inner is None else [np.zeros_like(block.inner.begin)]
    return [
        block.group.index * of_group + base,
        ins * of_ins,
        block.batch.index * of_batch,
        *(part * stride for part, stride in zip(field, of_field, strict=True)),
        block.outs.index * of_outs,
        *inner,
    ]


def _begins(tensor: Tensor, axis: int, index: Ints) -> Ints:
    """Offsets of positions of an axis, which may have several factors."""
    view = tensor.view()
    assert view is not None
    return axis_offsets(view.axes[axis], index)


def _strides(tensor: Tensor) -> list[int]:
    """Stride of every axis; of one with several factors, that of the innermost."""
    view = tensor.view()
    assert view is not None
    return [(coalesce(axis) or ((1, 0),))[-1][1] for axis in view.axes]
