"""Rows that are still to be combined, and reductions that combine them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ipuc.types import Ints


@dataclass(frozen=True, slots=True)
class Partials:
    """Values of a variable that are still to be combined, column by column.

    A group is a run of neighbouring columns of equally many rows; groups follow each other and
    cover all columns. Arrays have an entry for each group.

    Attributes:
        variable: id of the variable.
        dtype: of its elements.
        first: first column.
        width: columns.
        rows: rows of each column.
        base: element of the variable at the first row of the first column.
        column_step: elements from one column to the next.
        row_step: elements from one row to the next.
        tiles: tile of every element of the variable.
    """

    variable: int
    dtype: str
    first: Ints
    width: Ints
    rows: Ints
    base: Ints
    column_step: Ints
    row_step: Ints
    tiles: Ints

    @property
    def itemsize(self) -> int:
        """Bytes of an element."""
        return np.dtype(self.dtype).itemsize

    @property
    def count(self) -> int:
        """Values in all."""
        return int((self.width * self.rows).sum())

    def group(self, column: Ints) -> Ints:
        """Number of the group of each column."""
        found: Ints = np.searchsorted(self.first, column, side="right") - 1
        return found

    def element(self, column: Ints, row: Ints) -> Ints:
        """Element of the variable that holds a row of a column."""
        group = self.group(column)
        inside = (column - self.first[group]) * self.column_step[group]
        found: Ints = self.base[group] + inside + row * self.row_step[group]
        return found

    def place(self, pieces: Pieces) -> None:
        """Note where the elements lie that reductions write."""
        owner = np.repeat(np.arange(len(pieces)), pieces.width)
        number = np.arange(len(owner)) - np.repeat(
            np.cumsum(pieces.width) - pieces.width, pieces.width
        )
        self.tiles[pieces.into[owner] + number] = pieces.tile[owner]

    def pieces(self, tile: Ints, column: Ints, width: Ints, row: Ints, rows: Ints) -> Pieces:
        """Reductions of runs of columns, none of which leaves its group."""
        group = self.group(column)
        return Pieces(
            tile,
            self.element(column, row),
            column,
            width,
            rows[:, None],
            self.column_step[group],
            self.row_step[group][:, None],
        )


@dataclass(frozen=True, slots=True)
class Pieces:
    """Reductions of one compute set; arrays have an entry for each.

    Attributes:
        tile: where it runs.
        source: element of the operand at which it begins.
        into: element of the result at which it begins; its outputs lie together.
        width: columns, that is outputs.
        rows: extent of the box of rows on every axis: int64[n, axes].
        column_step: elements of the operand from one column to the next.
        row_steps: elements from one row to the next, on every axis: int64[n, axes].
    """

    tile: Ints
    source: Ints
    into: Ints
    width: Ints
    rows: Ints
    column_step: Ints
    row_steps: Ints

    def __len__(self) -> int:
        """Number of reductions."""
        return len(self.tile)

    @property
    def depth(self) -> Ints:
        """Rows of each."""
        depth: Ints = self.rows.prod(axis=1)
        return depth

    def take(self, chosen: Any, /, **changed: Ints) -> Pieces:
        """Some of them, by number or mask, with some columns changed."""
        columns = {name: getattr(self, name)[chosen] for name in self.__slots__}
        return Pieces(**(columns | changed))

    def cut_columns(self, parts: Ints, grain: Ints) -> Pieces:
        """Cut each into `parts` runs of columns, at multiples of its grain."""
        source = np.repeat(np.arange(len(self)), parts)
        number = np.arange(len(source)) - np.repeat(np.cumsum(parts) - parts, parts)
        count = -(-self.width // grain)
        edge = [
            np.minimum((number + k) * count[source] // parts[source] * grain[source], limit)
            for k, limit in ((0, self.width[source]), (1, self.width[source]))
        ]
        moved = self.take(source)
        return self.take(
            source,
            source=moved.source + edge[0] * moved.column_step,
            into=moved.into + edge[0],
            width=edge[1] - edge[0],
        )


def grouped(column: Ints, width: Ints, rows: Ints) -> tuple[Ints, Ints, Ints]:
    """Join runs of columns, in order, that have equally many rows: (first, width, rows)."""
    opens = np.ones(len(column), bool)
    opens[1:] = rows[1:] != rows[:-1]
    first = np.flatnonzero(opens)
    return column[first], np.add.reduceat(width, first), rows[first]


def packed(variable: int, dtype: str, first: Ints, width: Ints, rows: Ints) -> Partials:
    """Groups that lie one after another, each row by row; nothing is placed yet."""
    size = width * rows
    return Partials(
        variable,
        dtype,
        first,
        width,
        rows,
        np.cumsum(size) - size,
        np.ones_like(width),
        width,
        np.zeros(int(size.sum()), np.int64),
    )
