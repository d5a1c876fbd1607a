"""Sums of the partial results that several tiles have of one block, by the rules of 2017.

The tiles that hold a block's partials share its sums. Many partials are added in stages.
Source: rules read in the public history of Graphcore's PopLibs, winter 2016/17.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ipuc.codelets.reduce_add import ReduceAdd
from ipuc.planner.context import Context
from ipuc.program.builder import ComputeSetBuilder
from ipuc.program.family import Access, separable
from ipuc.program.split import bounds, split_axis
from ipuc.program.tensor import Tensor
from ipuc.types import Ints

#: Fewer partials than these are added in one stage, or in two.
ONE_STAGE, TWO_STAGES = 16, 125


@dataclass(frozen=True, slots=True)
class Blocks:
    """Blocks of one size. Block b begins at the sum of its axes' tables.

    Attributes:
        begin: first element: one table for each axis of blocks.
        tile: of the block's first partial: tables likewise.
        size: elements of a block.
    """

    begin: tuple[Ints, ...]
    tile: tuple[Ints, ...]
    size: int


def stages(depth: int) -> list[int]:
    """Partials that are left after each stage but the last.

    Args:
        depth: partials of each element.
    """
    if depth < ONE_STAGE:
        return []
    if depth < TWO_STAGES:
        return [round(depth**0.5)]
    root = round(depth ** (1 / 3))
    return [root * root, root]


def share(items: int, workers: int, grain: int) -> list[tuple[Ints, int]]:
    """Begins and size of vertices: ceil(grains / W) grains of a tile's items to each."""
    grains = -(-items // grain)
    most = -(-grains // workers)
    return [(part.begin, part.size) for part in split_axis(items, -(-grains // most), grain)]


def sum_blocks(
    ctx: Context,
    partials: Tensor,
    out: Tensor,
    blocks: Sequence[Blocks],
    tile_step: int,
    name: str,
) -> None:
    """Add the partials of every block.

    Args:
        ctx: the lowering.
        partials: a variable [depth, elements].
        out: a variable [elements].
        blocks: they cover the elements.
        tile_step: from the tile of one partial of a block to that of the next.
        name: of the compute sets.
    """
    depth, size = partials.shape
    edges = np.arange(depth + 1, dtype=np.int64)  # of each partial's tiles
    for left in [*stages(depth), 1]:
        last = left == 1
        made = (
            out if last else ctx.builder.variable(f"{name} of {left}", partials.dtype, (left, size))
        )
        joined = bounds(len(edges) - 1, left)
        with ctx.builder.compute_set(name) as compute_set:
            compute_set.workers = "one"
            for some in blocks:
                _stage(ctx, compute_set, (partials, made), some, (joined, edges), tile_step)
        partials, edges = made, edges[joined]


def _stage(
    ctx: Context,
    compute_set: ComputeSetBuilder,
    tensors: tuple[Tensor, Tensor],
    blocks: Blocks,
    groups: tuple[Ints, Ints],
    tile_step: int,
) -> None:
    """One stage of blocks of one size.

    Args:
        ctx: the lowering.
        compute_set: where the vertices go.
        tensors: partials and sums.
        blocks: the blocks.
        groups: the first partial of each sum and the end of the last; the first tile of each
            partial and the end of the last.
        tile_step: from tile to tile.
    """
    joined, edges = groups
    partials, made = (ctx.builder.one_view(tensor) for tensor in tensors)
    total = ctx.builder.variables[partials.variable].shape[-1]
    codelet = ReduceAdd(tensors[0].dtype)
    grain = ctx.target.vector_width(tensors[1].itemsize)
    depths, first = np.diff(joined), edges[joined]
    kinds = np.column_stack([depths, np.diff(first)])
    for depth, tiles in np.unique(kinds, axis=0).tolist():
        sums = np.flatnonzero((kinds == (depth, tiles)).all(axis=1))
        for part in split_axis(blocks.size, tiles, grain):
            for begin, size in share(part.size, ctx.target.worker_contexts, grain):
                where = [first[sums] * tile_step, *blocks.tile, part.index * tile_step]
                into = separable(0, sums * total, *blocks.begin, part.begin, begin)
                out_of = separable(0, joined[sums] * total, *blocks.begin, part.begin, begin)
                compute_set.add(
                    codelet,
                    separable(0, *where, np.zeros_like(begin)),
                    partials=Access(partials.variable, out_of, (depth, size), (total, 1)),
                    out=Access(made.variable, into, (size,), (1,)),
                )
