"""Vertex families: n vertices of one codelet that differ only in tile and field positions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

import numpy as np

from ipuc.codelets.define import Codelet
from ipuc.errors import ProgramError
from ipuc.types import Ints, Shape

#: How many workers of its tile run one vertex.
Workers = Literal["all", "one"]


@dataclass(frozen=True, slots=True)
class IndexMap:
    """One number per grid point: `base` + the sum over axes of a small table.

    Attributes:
        base: added to every point.
        tables: one table per grid axis: int64[extent of that axis].
        explicit: int64[*grid], instead of tables, where no such sum exists.
    """

    base: int
    tables: tuple[Ints, ...] = ()
    explicit: Ints | None = None

    @property
    def grid(self) -> Shape:
        """Extents of the grid."""
        if self.explicit is not None:
            return self.explicit.shape
        return tuple(len(table) for table in self.tables)

    def dense(self) -> Ints:
        """The number of every grid point: int64[*grid]."""
        if self.explicit is not None:
            return self.explicit + self.base
        total = np.full((1,) * len(self.tables), self.base, np.int64)
        for axis, table in enumerate(self.tables):
            shape = [1] * len(self.tables)
            shape[axis] = len(table)
            total = total + table.reshape(shape)
        return np.broadcast_to(total, self.grid)

    def at(self, points: Ints) -> Ints:
        """Numbers of the grid points with these flat (row-major) positions: int64[n]."""
        if self.explicit is not None:
            return self.explicit.reshape(-1)[points] + self.base
        total = np.full(points.shape, self.base, np.int64)
        rest = points
        for table in reversed(self.tables):
            rest, index = np.divmod(rest, len(table))
            total += table[index]
        return total

    def bounds(self) -> tuple[int, int]:
        """Least and greatest number over the grid."""
        if self.explicit is not None:
            return self.base + int(self.explicit.min()), self.base + int(self.explicit.max())
        low = self.base + sum(int(table.min()) for table in self.tables)
        return low, self.base + sum(int(table.max()) for table in self.tables)

    def shared_axes(self) -> tuple[bool, ...]:
        """For each grid axis, whether the number does not depend on it."""
        if self.explicit is not None:
            return tuple(
                bool((self.explicit == np.take(self.explicit, [0], axis)).all())
                for axis in range(self.explicit.ndim)
            )
        return tuple(bool((table == table[0]).all()) for table in self.tables)

    def slice(self, axis: int, index: int) -> IndexMap:
        """Keep one position of an axis; the axis stays, with extent 1."""
        if self.explicit is not None:
            return IndexMap(self.base, explicit=np.take(self.explicit, [index], axis))
        tables = list(self.tables)
        tables[axis] = tables[axis][index : index + 1]
        return IndexMap(self.base, tuple(tables))


def separable(base: int, *tables: Ints | list[int] | range) -> IndexMap:
    """Make an IndexMap from one table per grid axis."""
    return IndexMap(base, tuple(np.asarray(table, np.int64) for table in tables))


@dataclass(frozen=True, slots=True)
class Access:
    """How one field of a family reaches its elements.

    Vertex p touches `offset(p) + sum(i_d * strides[d])` for i in the window.

    Attributes:
        variable: id of the variable.
        offset: first element, per vertex.
        shape: extents of one vertex's window.
        strides: element strides of the window; 0 repeats an element (inputs only).
        entries: int64[k, 2], begin relative to the offset and length of each contiguous piece
            the vertex connects, where they differ from the window's own runs; they cover the
            same elements.
    """

    variable: int
    offset: IndexMap
    shape: Shape
    strides: tuple[int, ...]
    entries: Ints | None = None

    def extent(self) -> tuple[int, int]:
        """Least and greatest element of the window relative to its offset."""
        reach = [(n - 1) * s for n, s in zip(self.shape, self.strides, strict=True)]
        return sum(r for r in reach if r < 0), sum(r for r in reach if r > 0)

    def runs(self) -> Ints:
        """Contiguous pieces of one window: int64[k, 2] of begin relative to the offset, length.

        Pieces that meet are one; pieces that overlap stay apart. Order is that of the window.
        """
        if self.entries is not None:
            return self.entries
        if 0 in self.shape:
            return np.empty((0, 2), np.int64)
        dims = sorted(
            ((abs(s), n) for n, s in zip(self.shape, self.strides, strict=True) if n > 1 and s),
            reverse=True,
        )
        length = 1
        while dims and dims[-1][0] == length:
            length *= dims.pop()[1]
        begins = np.full(1, self.extent()[0], np.int64)
        for stride, extent in dims:
            begins = (begins[:, None] + np.arange(extent, dtype=np.int64) * stride).reshape(-1)
        return np.stack([begins, np.full_like(begins, length)], axis=1)

    def slice(self, axis: int, index: int) -> Access:
        """Keep one position of a grid axis."""
        offset = self.offset.slice(axis, index)
        return Access(self.variable, offset, self.shape, self.strides, self.entries)


@dataclass(frozen=True, slots=True)
class Origin:
    """What a family computes: the layer (a node's readable name) and the layer pass."""

    layer: str
    layer_pass: str = "forward"


@dataclass(frozen=True, slots=True)
class VertexFamily:
    """Vertices of one codelet on a grid.

    Attributes:
        codelet: the vertex type with its template parameters.
        grid: extents; prod(grid) vertices.
        tile: the tile of every vertex.
        fields: access of every field of the codelet, by name.
        origins: the layers and passes that run these vertices.
        workers: "all" for Poplar's MultiVertex, whose code all workers of the tile run together;
            "one" for a plain Vertex, which takes one worker while others run other vertices.
    """

    codelet: Codelet
    grid: Shape
    tile: IndexMap
    fields: Mapping[str, Access]
    origins: tuple[Origin, ...] = field(default=())
    workers: Workers = "all"

    def __post_init__(self) -> None:
        """Hold the family's parts to one grid.

        Raises:
            ProgramError: a field is missing, unknown, or on another grid; or `workers` is neither
                "all" nor "one".
        """
        where = f"codelet {self.codelet.name}" + (
            f", {self.origins[0].layer}" if self.origins else ""
        )
        if self.count == 0:
            raise ProgramError(
                f"a family on a grid {self.grid} has no vertex",
                where=where,
                fix="add no family where there is no work",
            )
        wanted = [spec.name for spec in self.codelet.fields]
        if sorted(self.fields) != sorted(wanted):
            raise ProgramError(
                f"fields {sorted(self.fields)} are connected, {sorted(wanted)} are declared",
                where=where,
                fix="connect every field of the codelet, and no other",
            )
        for name, access in self.fields.items():
            if access.offset.grid != self.grid:
                raise ProgramError(
                    f'field "{name}" has grid {access.offset.grid}, the family {self.grid}',
                    where=where,
                    fix="give one table per grid axis",
                )
        if self.workers not in get_args(Workers):
            raise ProgramError(
                f'a vertex runs on "{self.workers}" workers',
                where=where,
                fix='say "all" or "one"',
            )
        if self.tile.grid != self.grid:
            raise ProgramError(
                f"tiles have grid {self.tile.grid}, the family {self.grid}",
                where=where,
                fix="give one table of tiles per grid axis",
            )

    @property
    def count(self) -> int:
        """Number of vertices."""
        return math.prod(self.grid)

    def windows(self) -> dict[str, Shape]:
        """Window shape of every field."""
        return {name: access.shape for name, access in self.fields.items()}

    def edges(self) -> int:
        """Poplar's edges of all vertices; a field given by `entries` has one for each of them."""
        windows = self.windows()
        each = self.codelet.edges(windows)
        for spec in self.codelet.fields:
            entries = self.fields[spec.name].entries
            if entries is not None:
                each += len(entries) - math.prod(windows[spec.name][: spec.list_axes])
        return self.count * each

    @property
    def layer(self) -> str:
        """Name of the first layer that runs these vertices."""
        return self.origins[0].layer if self.origins else ""

    def moved(self, variables: Mapping[int, int]) -> VertexFamily:
        """The same vertices on other variables: ids by the ids that they replace."""
        fields = {
            name: replace(access, variable=variables.get(access.variable, access.variable))
            for name, access in self.fields.items()
        }
        return replace(self, fields=fields)

    def slice(self, axis: int, index: int) -> VertexFamily:
        """The vertices at one position of a grid axis."""
        grid = (*self.grid[:axis], 1, *self.grid[axis + 1 :])
        fields = {name: access.slice(axis, index) for name, access in self.fields.items()}
        tile = self.tile.slice(axis, index)
        return VertexFamily(self.codelet, grid, tile, fields, self.origins, self.workers)
