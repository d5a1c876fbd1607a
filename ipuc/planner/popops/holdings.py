"""What every tile holds of a reduction's operand: boxes of rows, run by run of columns.

An output is a column; the elements that are combined into it are its rows. Rows of one column that
lie on one tile become one partial result there. Source: PopLibs popops ReductionIntrospection.cpp,
whose patterns these are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ipuc.types import Ints

#: More boxes than this are not followed: the operand is spread too finely.
MOST_BOXES = 1 << 18


@dataclass(frozen=True, slots=True)
class Holdings:
    """Boxes of an operand, each on one tile; arrays have an entry for each.

    Attributes:
        tile: where the box lies.
        column: its first column.
        width: columns, which lie a constant step apart.
        begin: first index on every axis of the rows: int64[n, axes].
        rows: extent on every axis of the rows: int64[n, axes].
        rank: which partial result of its columns it makes, counted from 0.
        depth: partial results of every column: int64[columns].
    """

    tile: Ints
    column: Ints
    width: Ints
    begin: Ints
    rows: Ints
    rank: Ints
    depth: Ints

    @property
    def reduces(self) -> bool:
        """Whether any tile holds several rows of a column."""
        return bool((self.rows.prod(axis=1) > 1).any())


def holdings(tiles: NDArray[np.int32], kept: int) -> Holdings | None:
    """Find the boxes.

    Args:
        tiles: tile of every element: the first `kept` axes are columns, the others rows.
        kept: number of those axes.

    Returns:
        None if there are more than `MOST_BOXES`, but for an operand of which no tile holds two rows
        of a column: its boxes may be counted along the columns.
    """
    extents = tiles.shape
    last = extents[-1]
    flat = tiles.reshape(-1, last)
    change = np.ones(flat.shape, bool)
    change[:, 1:] = flat[:, 1:] != flat[:, :-1]
    first = np.flatnonzero(change)
    if len(first) > MOST_BOXES:
        return _apart(tiles, kept)
    size = np.diff(first, append=flat.size)
    tile = flat.reshape(-1)[first].astype(np.int64)
    begin = np.stack(np.unravel_index(first, extents), axis=1).astype(np.int64)
    rows = np.ones((len(first), len(extents) - kept), np.int64)
    rows[:, -1] = size
    column = np.ravel_multi_index(tuple(begin[:, :kept].T), extents[:kept]).astype(np.int64)
    begin = begin[:, kept:]
    for axis in range(rows.shape[1] - 2, -1, -1):
        others = [begin[:, d] for d in range(begin.shape[1]) if d != axis]
        keys = [tile, column, *others, *rows.T]
        chosen, extent = _joined(begin[:, axis], rows[:, axis], keys)
        tile, column, begin, rows = tile[chosen], column[chosen], begin[chosen], rows[chosen]
        rows[:, axis] = extent
    columns = math.prod(extents[:kept])
    depth = np.bincount(column, minlength=columns)
    order = np.lexsort((*begin.T[::-1], column))
    rank = np.empty_like(column)
    rank[order] = np.arange(len(order)) - np.repeat(np.cumsum(depth) - depth, depth)
    # Neighbouring columns of one kind on one tile are one box, as far as the innermost axis goes.
    inner = extents[kept - 1]
    keys = [tile, column // inner, depth[column], rank, *begin.T, *rows.T]
    chosen, width = _joined(column, np.ones_like(column), keys)
    return Holdings(
        tile[chosen], column[chosen], width, begin[chosen], rows[chosen], rank[chosen], depth
    )


def _apart(tiles: NDArray[np.int32], kept: int) -> Holdings | None:
    """Boxes of one row each, if no tile holds two rows of a column and rows have one axis."""
    if tiles.ndim != kept + 1:
        return None
    lines = np.swapaxes(tiles, -1, -2)
    inner, rows = tiles.shape[-2], tiles.shape[-1]
    flat = lines.reshape(-1, inner)
    change = np.ones(flat.shape, bool)
    change[:, 1:] = flat[:, 1:] != flat[:, :-1]
    first = np.flatnonzero(change)
    if len(first) > MOST_BOXES:
        return None
    width = np.diff(first, append=flat.size)
    tile = flat.reshape(-1)[first].astype(np.int64)
    line, place = np.divmod(first, inner)
    outer, row = np.divmod(line, rows)
    column = outer * inner + place
    order = np.lexsort((column, tile))
    meets = column[order][1:] < (column + width)[order][:-1]
    if (meets & (tile[order][1:] == tile[order][:-1])).any():
        return None
    depth = np.full(tiles.size // rows, rows)
    return Holdings(tile, column, width, row[:, None], np.ones_like(row)[:, None], row, depth)


def _joined(begin: Ints, extent: Ints, keys: Sequence[Ints]) -> tuple[Ints, Ints]:
    """Join intervals that meet and whose keys agree: number of each first one, joint extents."""
    order = np.lexsort((begin, *keys))
    end = begin[order] + extent[order]
    opens = np.ones(len(order), bool)
    opens[1:] = begin[order][1:] != end[:-1]
    for key in keys:
        opens[1:] |= key[order][1:] != key[order][:-1]
    first = np.flatnonzero(opens)
    return order[first], np.add.reduceat(extent[order], first)
