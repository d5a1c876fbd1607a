"""Sums of the partial results of a convolution, in the result's type, by the rules of 2017.

The tiles that hold the partials of a block share its sums; many partials are added in stages.
Source: rules read in the public history of Graphcore's PopLibs, winter 2016/17.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ipuc.codelets.cast import Cast
from ipuc.codelets.reduce_add import ReduceAdd
from ipuc.planner.context import Context
from ipuc.planner.worker.block_sums import stages
from ipuc.program.builder import ComputeSetBuilder
from ipuc.program.family import Access, separable
from ipuc.program.split import bounds
from ipuc.program.tensor import Tensor
from ipuc.types import Ints

#: Channels of a pixel that lie together.
UNIT = 8


@dataclass(frozen=True, slots=True)
class Block:
    """Blocks of one shape. A block's place is the sum over the axes of its tables.

    Attributes:
        begin: first pixel, in partial sums that lie block by block: one table for each axis.
        place: first pixel in the result, [groups][y][x]: likewise.
        tile: of the block's first partial: likewise.
        shape: groups, rows and columns.
    """

    begin: tuple[Ints, ...]
    place: tuple[Ints, ...]
    tile: tuple[Ints, ...]
    shape: tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class _Shares:
    """Equal shares of a block: boxes of some rows of one group; lengths are in elements.

    Attributes:
        begin: first element of the block: [n].
        place: element of the result relative to the block's first: [n].
        tile: which of the tiles that share the block: [n].
        rows: of each share.
        row: elements of a row.
        step: from row to row in the result.
    """

    begin: Ints
    place: Ints
    tile: Ints
    rows: int
    row: int
    step: int


def add_blocks(
    ctx: Context, partials: Tensor, out: Tensor, blocks: Sequence[Block], name: str
) -> None:
    """Add the partials of every block; a single one is converted.

    Args:
        ctx: the lowering.
        partials: a variable [depth, batch, elements], block by block; partial d of a block lies on
            the d-th tile from that of its first.
        out: a variable [batch, groups, y, x, 8].
        blocks: they cover the elements.
        name: of the compute sets.
    """
    depth, batch, size = partials.shape
    edges = np.arange(depth + 1, dtype=np.int64)  # of each partial's tiles
    for left in [*stages(depth), 1]:
        made = out
        if left > 1:
            shape = (left, batch, size)
            made = ctx.builder.variable(f"{name} sums of {left}", partials.dtype, shape)
        joined = bounds(len(edges) - 1, left)
        verb = "cast" if depth == 1 else "reduce"
        with ctx.builder.compute_set(f"{name} {verb}") as compute_set:
            compute_set.workers = "one"
            for block in blocks:
                _stage(ctx, compute_set, (partials, made), block, (joined, edges), last=left == 1)
        partials, edges = made, edges[joined]


def _stage(
    ctx: Context,
    compute_set: ComputeSetBuilder,
    tensors: tuple[Tensor, Tensor],
    block: Block,
    groups: tuple[Ints, Ints],
    *,
    last: bool,
) -> None:
    """One stage of blocks of one shape.

    Args:
        ctx: the lowering.
        compute_set: where the vertices go.
        tensors: partials and sums.
        block: the blocks.
        groups: the first partial of each sum and the end of the last; the first tile of each
            partial and the end of the last.
        last: the sums are the result.
    """
    joined, edges = groups
    _, batch, size = tensors[0].shape
    field = tensors[1].shape[2:4] if last else None
    grain = ctx.target.vector_width(tensors[1].itemsize)
    depths, first = np.diff(joined), edges[joined]
    kinds = np.column_stack([depths, np.diff(first)])
    images = np.arange(batch, dtype=np.int64) * size
    for depth, tiles in np.unique(kinds, axis=0).tolist():
        sums = np.flatnonzero((kinds == (depth, tiles)).all(axis=1))
        for some in _shares(block.shape, tiles, ctx.target.worker_contexts, field, grain):
            tile = separable(0, first[sums], np.zeros_like(images), *block.tile, some.tile)
            places = [table * UNIT for table in (block.place if last else block.begin)]
            begins = [table * UNIT for table in block.begin]
            inside = some.place if last else some.begin
            sources = separable(0, joined[sums] * (batch * size), images, *begins, some.begin)
            into = separable(0, sums * (batch * size), images, *places, inside)
            window, strides = (some.rows, some.row), (some.row, 1)
            made = Access(_id(ctx, tensors[1]), into, window, (some.step, 1))
            if tensors[0].shape[0] == 1:
                read = Access(_id(ctx, tensors[0]), sources, window, strides)
                compute_set.add(Cast(tensors[0].dtype, tensors[1].dtype), tile, x=read, out=made)
            else:
                read = Access(
                    _id(ctx, tensors[0]), sources, (depth, *window), (batch * size, *strides)
                )
                compute_set.add(ReduceAdd(tensors[0].dtype), tile, partials=read, out=made)


def _id(ctx: Context, tensor: Tensor) -> int:
    return ctx.builder.one_view(tensor).variable


def _shares(
    shape: tuple[int, int, int],
    tiles: int,
    workers: int,
    field: tuple[int, ...] | None,
    grain: int,
) -> list[_Shares]:
    """Deal the elements of a block to tiles, and a tile's to its workers.

    A share is one run of elements where they lie so in the result; else it stays in one row, or is
    some whole rows.

    Args:
        shape: groups, rows and columns of the block.
        tiles: that share it.
        workers: of a tile.
        field: rows and columns of the result; None if the sums lie as the partials do.
        grain: elements that stay together.
    """
    groups, high, wide = shape
    if field is None or (wide == field[1] and (high == field[0] or groups == 1)):
        table = np.array(_runs(groups * high * wide * UNIT, tiles, workers, grain), np.int64)
        return [
            _Shares(part[:, 0], part[:, 0], part[:, 2], 1, int(size), 0)
            for size in np.unique(table[:, 1])
            for part in (table[table[:, 1] == size],)
        ]
    each = -(-(groups * high * wide * UNIT // grain) // tiles)
    most = -(-each // workers) * grain
    line, lines = (high * wide * UNIT, 1) if wide == field[1] else (wide * UNIT, high)
    taken = max(1, min(lines, most // line))
    cut, down = bounds(line, -(-line // most), grain), bounds(lines, -(-lines // taken))
    count = groups * (len(cut) - 1) * (len(down) - 1)
    group, row, column = (
        index.reshape(-1) for index in np.indices((groups, len(down) - 1, len(cut) - 1))
    )
    sizes = np.column_stack([np.diff(down)[row], np.diff(cut)[column]])
    begin = (group * high + down[row]) * (wide * UNIT) + cut[column]
    place = (group * field[0] + down[row]) * (field[1] * UNIT) + cut[column]
    tile = np.arange(count, dtype=np.int64) * tiles // count
    made: list[_Shares] = []
    for rows, size in np.unique(sizes, axis=0).tolist():
        here = (sizes == (rows, size)).all(axis=1)
        step = field[1] * UNIT
        made.append(_Shares(begin[here], place[here], tile[here], rows, size, step))
    return made


def _runs(total: int, tiles: int, workers: int, grain: int) -> list[tuple[int, int, int]]:
    """Begin, size and tile of each vertex's run of elements."""
    found: list[tuple[int, int, int]] = []
    for tile, (low, high) in enumerate(itertools.pairwise(bounds(total, tiles, grain).tolist())):
        grains = -(-(high - low) // grain)
        if grains:
            most = -(-grains // workers)
            edges = bounds(high - low, -(-grains // most), grain) + low
            found += [
                (begin, end - begin, tile) for begin, end in itertools.pairwise(edges.tolist())
            ]
    return found
