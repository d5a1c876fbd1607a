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
    """Equal shares of a block: boxes of some rows of one group.

    Attributes:
        begin: first pixel of the block: [n].
        place: pixel of the result relative to the block's first: [n].
        tile: which of the tiles that share the block: [n].
        rows: of each share.
        row: pixels of a row.
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
    depths, first = np.diff(joined), edges[joined]
    kinds = np.column_stack([depths, np.diff(first)])
    images = np.arange(batch, dtype=np.int64) * size
    for depth, tiles in np.unique(kinds, axis=0).tolist():
        sums = np.flatnonzero((kinds == (depth, tiles)).all(axis=1))
        for some in _shares(block.shape, tiles, ctx.target.worker_contexts, field):
            nowhere = np.zeros_like(images)
            tile = separable(0, first[sums], nowhere, *block.tile, some.tile)
            places = block.place if last else block.begin
            inside = some.place if last else some.begin
            sources = separable(
                0, joined[sums] * (batch * size), images, *_units(block.begin, some.begin)
            )
            into = separable(0, sums * (batch * size), images, *_units(places, inside))
            window, strides = (some.rows, some.row * UNIT), (some.row * UNIT, 1)
            made = Access(_id(ctx, tensors[1]), into, window, (some.step * UNIT, 1))
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


def _units(blocks: tuple[Ints, ...], inside: Ints) -> list[Ints]:
    return [table * UNIT for table in (*blocks, inside)]


def _shares(
    shape: tuple[int, int, int], tiles: int, workers: int, field: tuple[int, ...] | None
) -> list[_Shares]:
    """Deal the pixels of a block to tiles, and a tile's to its workers.

    A share is one run of pixels where they lie so in the result; else it stays in one row, or is
    some whole rows.

    Args:
        shape: groups, rows and columns of the block.
        tiles: that share it.
        workers: of a tile.
        field: rows and columns of the result; None if the sums lie as the partials do.
    """
    groups, high, wide = shape
    total = groups * high * wide
    each = -(-total // tiles)
    most = -(-each // workers)
    plane = 0 if field is None else field[0] * field[1]
    if field is None or (wide == field[1] and (high == field[0] or groups == 1)):
        edges = bounds(total, min(tiles, total))
        found = [
            (begin, size, tile)
            for tile, (low, high_) in enumerate(itertools.pairwise(edges.tolist()))
            for begin, size in _run(low, high_, workers)
        ]
        table = np.array(found, np.int64)
        return [
            _Shares(part[:, 0], part[:, 0], part[:, 2], 1, int(size), 0)
            for size in np.unique(table[:, 1])
            for part in (table[table[:, 1] == size],)
        ]
    assert plane
    line, lines = (high * wide, 1) if wide == field[1] else (wide, high)
    made: list[_Shares] = []
    taken = max(1, min(lines, most // line))
    cut, down = bounds(line, -(-line // most)), bounds(lines, -(-lines // taken))
    count = groups * (len(cut) - 1) * (len(down) - 1)
    group, row, column = (
        index.reshape(-1) for index in np.indices((groups, len(down) - 1, len(cut) - 1))
    )
    sizes = np.column_stack([np.diff(down)[row], np.diff(cut)[column]])
    begin = group * (high * wide) + down[row] * wide + cut[column]
    place = group * plane + down[row] * field[1] + cut[column]
    tile = np.arange(count, dtype=np.int64) * tiles // count
    for rows, size in np.unique(sizes, axis=0).tolist():
        here = (sizes == (rows, size)).all(axis=1)
        made.append(_Shares(begin[here], place[here], tile[here], rows, size, field[1]))
    return made


def _run(begin: int, end: int, workers: int) -> list[tuple[int, int]]:
    """A tile's run, cut for its workers: begin and size of each."""
    most = -(-(end - begin) // workers)
    edges = bounds(end - begin, -(-(end - begin) // most)) + begin
    return list(zip(edges[:-1].tolist(), np.diff(edges).tolist(), strict=True))
