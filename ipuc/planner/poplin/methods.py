"""Vertex types that a convolution may be planned with, and the grains they ask for.

Source: PopLibs ConvVertexType.cpp; grains and rates in elements.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ipuc.codelets.cycles import amp, mac
from ipuc.codelets.cycles.amp import Block
from ipuc.codelets.define import Number, ceil_div
from ipuc.planner.poplin.params import ConvParams
from ipuc.target import Target
from ipuc.types import Ints


@dataclass(frozen=True, slots=True)
class Method:
    """One vertex type with what it asks of a plan.

    Attributes:
        name: the method's name in poplin.
        in_groups: offered sizes of a group of input channels.
        out_groups: offered sizes of a group of output channels.
        bundle: convolution groups done at once.
        rate: multiply-adds per cycle and tile that it never exceeds.
        partial: bytes of a partial sum.
        single_grain: a tile holds one group of input and one of output channels only.
    """

    name: str
    in_groups: tuple[int, ...]
    out_groups: tuple[int, ...]
    bundle: int
    rate: int
    partial: int
    single_grain: bool = False


def methods(
    target: Target, params: ConvParams, *, dense: bool, partial: int = 4
) -> Iterator[Method]:
    """Every method that can do a transformed convolution.

    Args:
        target: the machine.
        params: the transformed convolution.
        dense: a matrix product or fully connected layer, which SLIC is not offered.
        partial: bytes of a partial sum of halves.
    """
    size = params.itemsize
    partial = partial if size == 2 else 4
    kernel = 1
    for dim in params.dims:
        kernel *= dim.weights.kept(dim.kernel)
    full, load = amp.weights_per_unit(size), amp.load_width(size)
    wide_sums = partial
    direct = kernel == 1 and params.in_channels <= full
    if direct and params.out_itemsize < partial:
        # No reduction follows, so the vertex may round to the result's type itself.
        partial = params.out_itemsize
    units = amp.conv_units(target, size, partial)
    outs = tuple(sorted({8, units, max(full, units)}))
    yield Method("AMP", (full, full // 2, full // 4), outs, 1, units * load, partial)
    groups = _in_groups(params.in_channels, 2 if size == 2 else 1)
    yield Method("HMAC", groups, (1,) if wide_sums == 4 else (2,), 1, load, wide_sums)
    if size == 2 and params.out_channels == 1:
        yield Method("VMAC", (1,), (1,), 4, load, wide_sums)
    # The IPU model's fullest tiles show that a dilated input is never given to SLIC.
    plain = all(
        dim.data.dilation == dim.weights.dilation == 1 and not dim.data.flip | dim.weights.flip
        for dim in params.dims
    )
    row = params.dims[-1]
    lone = row.computed == 1 and any(row.result.pad)  # its stride is free, see `slide_of`
    if size == 2 and plain and row.result.stride <= 2 and not lone and not dense:
        for group in (4, 2, 1):
            yield Method(
                "SLIC", (group,), (group,), 4 // group, 8 * group, wide_sums, single_grain=True
            )
    single_row = all(dim.out == 1 for dim in params.dims[:-1])
    if params.in_channels == params.batch == kernel == 1 and single_row:
        yield Method("OUTER_PRODUCT", (1,), (load,), 1, load, size)


def _in_groups(channels: int, step: int) -> tuple[int, ...]:
    """Sizes of a channel group, each the smallest that gives its number of groups."""
    sizes = np.arange(step, channels + step, step, dtype=np.int64)
    counts = ceil_div(channels, sizes)
    return tuple(int(s) for s in sizes[np.flatnonzero(np.diff(counts, prepend=channels + 1))])


def compute_cycles(
    target: Target, method: Method, params: ConvParams, block: Block, *, long_row: bool
) -> Ints:
    """Cycles of the convolution vertex of one tile, for columns of candidates.

    Args:
        target: the machine.
        method: the vertex type.
        params: the transformed convolution.
        block: the tile's work, one entry per candidate.
        long_row: the whole convolution is one row with a kernel of one element.
    """
    size, partial = params.itemsize, method.partial
    made: Number
    if method.name == "AMP":
        made = amp.nx1(target, block, size, partial).total
        if long_row:
            one = amp.one_by_one(target, block, size, partial).total
            made = np.where(block.in_group == amp.weights_per_unit(size), one, made)
    elif method.name == "HMAC":
        single = long_row and size == 2 and partial >= 4
        made = mac.horizontal(target, block, size, partial, single=single).total
    elif method.name == "VMAC":
        made = mac.vertical(target, block, method.bundle, partial)
    elif method.name == "SLIC":
        made = mac.slic(
            target,
            block,
            in_group=method.in_groups[0],
            bundle=method.bundle,
            stride=params.dims[-1].result.stride,
            partial=partial,
        )
    else:
        made = mac.outer_product(target, block, size)
    return np.asarray(made, np.int64)
