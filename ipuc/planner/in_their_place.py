"""Vertices that stand where a variable lies, each on elements of its own tile."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ipuc.planner.context import Context
from ipuc.program.family import Access, IndexMap, separable
from ipuc.program.split import split_axis
from ipuc.program.tensor import Tensor, coalesce, of_variable
from ipuc.program.variables import TileMapping
from ipuc.types import Ints, Shape


@dataclass(frozen=True, slots=True)
class Local:
    """Vertices with equal windows: rows of equal length, equally far apart, on their own tile.

    Attributes:
        tile: of each position of the first grid axis.
        begin: first element there.
        steps: what each position of the second grid axis adds to the begin.
        shape: rows and elements of a row; elements alone where a vertex has one row.
        pitch: from row to row.
    """

    tile: Ints
    begin: Ints
    steps: Ints
    shape: Shape
    pitch: int

    def tiles(self) -> IndexMap:
        """Tile of every vertex."""
        return separable(0, self.tile, np.zeros_like(self.steps))

    def access(self, variable: int) -> Access:
        """The elements of every vertex."""
        strides = (self.pitch, 1)[2 - len(self.shape) :]
        return Access(variable, separable(0, self.begin, self.steps), self.shape, strides)


def is_whole(ctx: Context, tensor: Tensor) -> bool:
    """Whether a tensor is all of a variable, each element once, with axes in any order."""
    view = tensor.view()
    if view is None or view.offset or tensor.size != ctx.builder.variables[view.variable].size:
        return False
    unit = 1
    factors = (factor for axis in view.axes for factor in coalesce(axis))
    for extent, stride in sorted(factors, key=lambda factor: factor[1]):
        if stride != unit:
            return False
        unit *= extent
    return unit == tensor.size


def whereabouts(ctx: Context, tensor: Tensor, grain: int = 1) -> TileMapping:
    """Where the variable under a tensor lies, in this IPU's numbers of tiles.

    What nothing has decided yet is spread over the tiles in order, and stays there.

    Args:
        ctx: the lowering.
        tensor: one strided view.
        grain: elements that stay together if it is spread.
    """
    builder = ctx.builder
    found = builder.placed(tensor)
    if found is None:
        variable = builder.variables[builder.one_view(tensor).variable]
        builder.map_linear(of_variable(variable), grain)
        found = variable.mapped()
    return TileMapping(found.starts, found.tiles - builder.first_tile)


def local_vertices(
    ctx: Context, mapping: TileMapping, size: int, grain: int = 1
) -> Iterator[Local]:
    """Cut a variable into vertices where it lies.

    At granularity `tile` a vertex takes all rows of equal length and distance that a tile has.
    At the others a tile's grains are split over its workers, ceil(grains / W) to each; a tile
    with several kinds of rows has some vertices for each.

    Args:
        ctx: the lowering.
        mapping: where the elements lie; see `whereabouts`.
        size: elements.
        grain: elements that stay together.
    """
    runs = _runs(mapping, size)
    workers = ctx.target.worker_contexts if ctx.granularity != "tile" else 1
    tile, elements = runs[:, 0], runs[:, 2] * runs[:, 3]
    total = np.zeros(int(tile.max(initial=0)) + 1, np.int64)
    np.add.at(total, tile, elements)
    grains = -(-total[tile] // grain)
    parts = -(-elements // np.maximum(-(-grains // workers) * grain, 1))
    kinds, which = np.unique(np.column_stack([runs[:, 2:], parts]), axis=0, return_inverse=True)
    for kind, (rows, length, pitch, wanted) in enumerate(kinds.tolist()):
        mine = runs[which.reshape(-1) == kind]
        for steps, shape in _cut(rows, length, pitch, wanted, grain):
            yield Local(mine[:, 0], mine[:, 1], steps, shape, pitch)


def _runs(mapping: TileMapping, size: int) -> Ints:
    """Rows of equal length and distance on one tile: tile, begin, rows, length, pitch of each."""
    order = np.lexsort((mapping.starts, mapping.tiles))
    tile, begin = mapping.tiles[order], mapping.starts[order]
    length = mapping.lengths(size)[order]
    gap = np.diff(begin, prepend=0)
    new = np.ones(len(tile), bool)
    new[1:] = (tile[1:] != tile[:-1]) | (length[1:] != length[:-1])
    # the second row of a run sets the pitch, a later one may break it
    new[2:] |= (gap[2:] != gap[1:-1]) & ~new[1:-1]
    first = np.flatnonzero(new)
    rows = np.diff(first, append=len(tile))
    pitch = np.where(rows > 1, gap[np.minimum(first + 1, len(tile) - 1)], 0)
    return np.column_stack([tile[first], begin[first], rows, length[first], pitch])


def _cut(
    rows: int, length: int, pitch: int, parts: int, grain: int
) -> Iterator[tuple[Ints, Shape]]:
    """Cut rows into parts, along them only where there are too few: (begins, window) of each."""
    if 1 < rows >= parts:
        for some in split_axis(rows, parts):
            yield some.begin * pitch, (some.size, length)
        return
    begins = np.arange(rows, dtype=np.int64) * pitch
    grains, along = -(-length // grain), -(-parts // rows)
    for some in split_axis(length, -(-grains // -(-grains // along)), grain):
        yield (begins[:, None] + some.begin).reshape(-1), (some.size,)
