"""The vertex graph of a program, one block of vertices at a time.

Its nodes are the compute vertices and the elementary regions (`ipuc.program.regions`); an edge is
one distinct (vertex, region) pair. A program holds families, not vertices, so the graph is never
held: blocks of vertices with their regions are made in program order, from the families' tables.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ipuc.codelets.define import Codelet
from ipuc.errors import ProgramError
from ipuc.program.family import Access, VertexFamily
from ipuc.program.program import Program
from ipuc.program.regions import (
    CHUNK,
    Regions,
    counted_fields,
    cut_variable,
    point_chunks,
    sorted_runs,
)
from ipuc.types import Ints

#: Ids of regions: 32 bits where that is enough.
Ids = NDArray[Any]


@dataclass(frozen=True, slots=True)
class FieldRuns:
    """The contiguous pieces that one field of each vertex of a block reaches.

    Attributes:
        name: the field.
        variable: id of the variable.
        begins: first element of each piece, ascending for each vertex: int64[n, k].
        lengths: elements of each piece, the same for all vertices: int64[k].
    """

    name: str
    variable: int
    begins: Ints
    lengths: Ints


@dataclass(frozen=True, slots=True)
class Block:
    """n successive vertices of one family, with their regions.

    Attributes:
        first_vertex: number of the first of them; vertices are numbered in program order.
        family: index into `VertexGraph.families`.
        codelet: their vertex type.
        layer: name of the layer; empty if there is none.
        layer_pass: pass of the layer ("forward", ...).
        tile: int32[n].
        fields: what the codelet's fields reach, in declaration order.
        edge_offsets: vertex i has regions[edge_offsets[i] : edge_offsets[i + 1]]: int64[n + 1].
        regions: region ids, ascending and distinct for each vertex.
    """

    first_vertex: int
    family: int
    codelet: Codelet
    layer: str
    layer_pass: str
    tile: NDArray[np.int32]
    fields: tuple[FieldRuns, ...]
    edge_offsets: Ints
    regions: Ids


class VertexGraph:
    """The vertex graph of a program: counted exactly, enumerated in blocks.

    Regions are numbered variable by variable in device layout order, vertices in program order.

    Args:
        program: it should have passed the verifier.

    Attributes:
        families: every vertex family, in program order.
        first_vertex: number of each family's first vertex, and the total: int64[families + 1].
        first_region: number of each variable's first region, and the total: int64[variables + 1].

    Raises:
        ProgramError: a window leaves its variable.
    """

    def __init__(self, program: Program) -> None:
        self.program = program
        self.families: tuple[VertexFamily, ...] = tuple(program.families())
        self.first_vertex = _offsets([family.count for family in self.families])
        users: dict[int, list[Access]] = {}
        for family in self.families:
            if family.count:
                for name, access in counted_fields(family).items():
                    _check_window(program, family, name, access)
                    users.setdefault(access.variable, []).append(access)
        self._regions: dict[int, Regions] = {
            id_: cut_variable(program.variables[id_].size, users[id_]) for id_ in sorted(users)
        }
        counts = [
            len(self._regions[id_].begins) if id_ in self._regions else 0
            for id_ in range(len(program.variables))
        ]
        self.first_region = _offsets(counts)
        self._edges: int | None = None

    @property
    def vertices(self) -> int:
        """Number of compute vertices."""
        return int(self.first_vertex[-1])

    @property
    def regions(self) -> int:
        """Number of elementary regions."""
        return int(self.first_region[-1])

    @property
    def nodes(self) -> int:
        """Number of nodes: compute vertices and elementary regions."""
        return self.vertices + self.regions

    def edges(self) -> int:
        """Number of edges: distinct (vertex, region) pairs, counted once when first asked."""
        if self._edges is None:
            self._edges = sum(self._family_edges(family) for family in self.families)
        return self._edges

    @property
    def region_variable(self) -> NDArray[np.int32]:
        """Variable of each region: int32[regions]; made anew by each use, as all of these."""
        ids = np.arange(len(self.program.variables), dtype=np.int32)
        return np.repeat(ids, np.diff(self.first_region))

    @property
    def region_begin(self) -> Ints:
        """First element of each region, within its variable: int64[regions]."""
        return self._attribute(np.int64, lambda _, cut: cut.begins)

    @property
    def region_elements(self) -> Ints:
        """Elements of each region: int64[regions]."""
        return self._attribute(np.int64, lambda _, cut: cut.ends - cut.begins)

    @property
    def region_tile(self) -> NDArray[np.int32]:
        """Tile of each region's first element: int32[regions]."""
        variables = self.program.variables
        return self._attribute(
            np.int32, lambda id_, cut: variables[id_].mapped().tile_of_sorted(cut.begins)
        )

    def _attribute(
        self, kind: type[np.generic], value: Callable[[int, Regions], NDArray[Any]]
    ) -> NDArray[Any]:
        found = np.empty(self.regions, kind)
        for id_, cut in self._regions.items():
            found[self.first_region[id_] : self.first_region[id_ + 1]] = value(id_, cut)
        return found

    def blocks(self, max_edges: int = CHUNK) -> Iterator[Block]:
        """Enumerate all vertices, in program order, with their fields' pieces and their regions.

        Args:
            max_edges: most edges, and most field pieces, of a block; a single vertex that has
                more makes a block of its own.
        """
        for index, family in enumerate(self.families):
            origin = family.origins[0] if family.origins else None
            for points, fields, low, count in self._ranges(
                family.count, counted_fields(family).items(), max_edges
            ):
                tile = family.tile.at(points).astype(np.int32)
                total = np.concatenate([[0], np.cumsum(count.sum(axis=1))])
                begin = 0
                while begin < len(points):
                    end = int(np.searchsorted(total, total[begin] + max_edges, side="right")) - 1
                    end = min(max(end, begin + 1), len(points))
                    rows = slice(begin, end)
                    yield Block(
                        int(self.first_vertex[index] + points[begin]),
                        index,
                        family.codelet,
                        origin.layer if origin else "",
                        origin.layer_pass if origin else "",
                        tile[rows],
                        tuple(
                            FieldRuns(f.name, f.variable, f.begins[rows], f.lengths) for f in fields
                        ),
                        total[begin : end + 1] - total[begin],
                        _expand(low[rows].reshape(-1), count[rows].reshape(-1)),
                    )
                    begin = end

    def ranges(self) -> Iterator[tuple[int, Ids, Ids]]:
        """All edges in program order, as ranges of successive regions, a block at a time.

        Yields:
            number of the block's first vertex; first region and number of regions (0 where a range
            is empty), both [n, pieces], ascending and disjoint for each vertex.
        """
        for index, family in enumerate(self.families):
            for points, _, low, count in self._ranges(
                family.count, counted_fields(family).items(), CHUNK
            ):
                yield int(self.first_vertex[index] + points[0]), low, count

    def _ranges(
        self, count: int, fields: Iterable[tuple[str, Access]], limit: int
    ) -> Iterator[tuple[Ints, list[FieldRuns], Ids, Ids]]:
        """Chunks of vertices: points, field pieces, and disjoint ranges of regions of each vertex.

        Ranges are given by first id and number of regions, both [n, pieces], ascending in a row.
        """
        known = [(name, access, sorted_runs(access)) for name, access in fields]
        # Regions are numbered by variable: taken in this order, most rows are ascending as made.
        order = sorted(range(len(known)), key=lambda i: known[i][1].variable)
        pieces = sum(len(runs) for _, _, runs in known)
        kind = np.int32 if self.regions < 1 << 31 else np.int64
        for points in point_chunks(count, pieces, limit):
            made = [
                FieldRuns(name, access.variable, offset[:, None] + runs[:, 0], runs[:, 1])
                for name, access, runs in known
                for offset in (access.offset.at(points),)
            ]
            low = np.empty((len(points), pieces), kind)
            high = np.empty_like(low)
            at = 0
            for i in order:
                field = made[i]
                cut, first = self._regions[field.variable], self.first_region[field.variable]
                columns = slice(at, at + len(field.lengths))
                low[:, columns] = cut.rank(field.begins) + first
                high[:, columns] = cut.rank(field.begins + field.lengths) + first
                at += len(field.lengths)
            yield points, made, *_union(low, high)

    def _family_edges(self, family: VertexFamily) -> int:
        fields = counted_fields(family)
        if not family.count:
            return 0
        if len({access.variable for access in fields.values()}) < len(fields):
            return self._count(family.count, fields.items())
        # On different variables no region is met twice: each field is counted apart, and only
        # once along the axes on which it is shared.
        total = 0
        for name, whole in fields.items():
            access, times = whole, 1
            for axis, shared in enumerate(whole.offset.shared_axes()):
                if shared:
                    access, times = access.slice(axis, 0), times * family.grid[axis]
            total += times * self._count(family.count // times, [(name, access)])
        return total

    def _count(self, count: int, fields: Iterable[tuple[str, Access]]) -> int:
        return sum(int(number.sum()) for _, _, _, number in self._ranges(count, fields, CHUNK))


def _union(low: Ids, high: Ids) -> tuple[Ids, Ids]:
    """Make each row's ranges [low, high) ascending and disjoint, in place: (first id, number)."""
    if (low[:, 1:] < low[:, :-1]).any():
        order = np.argsort(low, axis=1, kind="stable")
        low = np.take_along_axis(low, order, axis=1)
        high = np.take_along_axis(high, order, axis=1)
    if (low[:, 1:] < high[:, :-1]).any():
        np.maximum.accumulate(high, axis=1, out=high)
        np.maximum(low[:, 1:], high[:, :-1], out=low[:, 1:])
    high -= low
    return low, high


def _expand(low: Ids, count: Ids) -> Ids:
    """List the ids of ranges, one after another."""
    ends = np.cumsum(count, dtype=low.dtype)
    found = np.repeat(low - ends + count, count)
    found += np.arange(len(found), dtype=low.dtype)
    return found


def _check_window(program: Program, family: VertexFamily, name: str, access: Access) -> None:
    variable = program.variables[access.variable]
    runs = sorted_runs(access)
    if not len(runs):
        return
    low, high = access.offset.bounds()
    first, last = low + int(runs[:, 0].min()), high + int(runs.sum(axis=1).max())
    if first < 0 or last > variable.size:
        raise ProgramError(
            f'a window covers elements {first} to {last - 1} of "{variable.name}", '
            f"which has {variable.size}",
            where=f"codelet {family.codelet.name}, field {name}",
            fix="keep every window inside its variable",
        )


def _offsets(counts: list[int]) -> Ints:
    return np.concatenate([[0], np.cumsum(np.asarray(counts, np.int64))]).astype(np.int64)
