"""One tile's part of one superstep: what it receives and sends, and the vertices it runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ipuc.codelets.define import source_of
from ipuc.profile.copies import copy_cost
from ipuc.profile.cycles import compute_cycles, vertex_cycles
from ipuc.profile.exchange import reads, writes
from ipuc.program.family import Access, VertexFamily
from ipuc.program.messages import merge
from ipuc.program.operand import gather
from ipuc.program.program import Program
from ipuc.program.steps import ComputeSet, Copy
from ipuc.types import Ints, Shape


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes of a variable that come from another tile, or go to it."""

    tile: int
    variable: str
    bytes: int


@dataclass(frozen=True, slots=True)
class FieldPart:
    """One field of one vertex.

    Attributes:
        name: of the field.
        reads: the vertex reads it.
        writes: the vertex writes it.
        variable: id of the variable.
        offset: first element in the variable.
        shape: extents of the window.
        strides: element strides of the window.
    """

    name: str
    reads: bool
    writes: bool
    variable: int
    offset: int
    shape: Shape
    strides: tuple[int, ...]

    def first(self, count: int) -> Ints:
        """Positions in the variable of the window's first elements, row-major."""
        size = int(np.prod(self.shape, dtype=np.int64))
        if not self.shape:
            return np.array([self.offset], np.int64)
        index = np.unravel_index(np.arange(min(count, size)), self.shape) if size else ()
        places = np.full(min(count, size), self.offset, np.int64)
        for axis, stride in zip(index, self.strides, strict=False):
            places += axis * stride
        return places


@dataclass(frozen=True, slots=True)
class VertexPart:
    """One vertex.

    Attributes:
        number: in its compute set, family after family, row-major over each grid.
        codelet: the vertex type's name.
        parameters: its template parameters.
        workers: "all" or "one" worker of the tile.
        cycles: of the tile, or of the one worker.
        formula: how they come about.
        source: where the formula comes from.
        fields: in the order of the codelet.
    """

    number: int
    codelet: str
    parameters: dict[str, Any]
    workers: str
    cycles: int
    formula: str
    source: str
    fields: tuple[FieldPart, ...]


@dataclass(frozen=True, slots=True)
class TilePart:
    """What one tile does in one superstep.

    Attributes:
        tile: its number.
        received: bytes that arrive before the vertices run, or in a copy.
        senders: those by tile and variable, most bytes first.
        sent: bytes that leave before the vertices run; what goes to many counts once.
        results_received: bytes that other tiles' vertices made for this one.
        results_sent: bytes that its vertices made for other tiles.
        receivers: those by tile and variable, most bytes first.
        cycles: compute cycles.
        slowest_cycles: those of the slowest tile.
        busiest_tile: that tile.
        vertex_count: vertices on the tile.
        vertices: the first of them.
    """

    tile: int
    received: int
    senders: tuple[Piece, ...]
    sent: int
    results_received: int
    results_sent: int
    receivers: tuple[Piece, ...]
    cycles: int
    slowest_cycles: int
    busiest_tile: int
    vertex_count: int
    vertices: tuple[VertexPart, ...]


def compute_part(program: Program, compute_set: ComputeSet, tile: int, most: int) -> TilePart:
    """A tile's part of a compute set.

    Args:
        program: it has passed the verifier.
        compute_set: the superstep; of a sweep, one position.
        tile: the tile.
        most: vertices to describe.
    """
    families = compute_set.families
    before, after = reads(program, families), writes(program, families)
    spent = compute_cycles(program, compute_set)
    points = [np.flatnonzero(family.tile.dense().reshape(-1) == tile) for family in families]
    vertices: list[VertexPart] = []
    first = 0
    for family, mine in zip(families, points, strict=True):
        shown = mine[: most - len(vertices)].tolist()
        vertices += [_vertex(program, family, point, first) for point in shown]
        first += family.count
    return TilePart(
        tile,
        int(before.received[tile]),
        _remote(program, families, points, tile, writes=False),
        int(before.sent[tile]),
        int(after.received[tile]),
        int(after.sent[tile]),
        _remote(program, families, points, tile, writes=True),
        int(spent[tile]),
        int(spent.max()),
        int(spent.argmax()),
        sum(len(mine) for mine in points),
        tuple(vertices),
    )


def copy_part(program: Program, copy: Copy, tile: int) -> TilePart:
    """A tile's part of a copy: what it receives, and what it moves into place."""
    traffic, spent = copy_cost(program, copy)
    wanted: dict[int, list[Ints]] = {}
    for move in copy.moves:
        if move.source is None:
            continue
        into = program.variables[move.destination.variable]
        here = gather(move.destination, into.mapped().dense(into.size)).reshape(-1) == tile
        numbers = np.arange(program.variables[move.source.variable].size, dtype=np.int64)
        elements = gather(move.source, numbers).reshape(-1)[here]
        wanted.setdefault(move.source.variable, []).append(elements)
    pieces: list[Piece] = []
    for id_, found in wanted.items():
        begins = np.unique(np.concatenate(found))
        pieces += _by_home(program, id_, begins, begins + 1, tile)
    return TilePart(
        tile,
        int(traffic.received[tile]),
        _sorted(pieces),
        int(traffic.sent[tile]),
        0,
        0,
        (),
        int(spent[tile]),
        int(spent.max()),
        int(spent.argmax()),
        0,
        (),
    )


def _vertex(program: Program, family: VertexFamily, point: int, first: int) -> VertexPart:
    at = np.array([point])
    fields = tuple(
        FieldPart(
            spec.name,
            spec.reads,
            spec.writes,
            access.variable,
            int(access.offset.at(at)[0]),
            access.shape,
            access.strides,
        )
        for spec in family.codelet.fields
        for access in (family.fields[spec.name],)
    )
    sizes = {n: program.variables[a.variable].itemsize for n, a in family.fields.items()}
    itemsize = family.codelet.itemsize(sizes)
    target = program.target
    if family.workers == "one":
        target = dataclasses.replace(target, worker_contexts=1)
    return VertexPart(
        first + point,
        family.codelet.name,
        family.codelet.parameters(),
        family.workers,
        vertex_cycles(program, family),
        family.codelet.formula(target, family.windows(), itemsize),
        source_of(type(family.codelet)),
        fields,
    )


def _remote(
    program: Program,
    families: Iterable[VertexFamily],
    points: Iterable[Ints],
    tile: int,
    *,
    writes: bool,
) -> tuple[Piece, ...]:
    """What the tile's vertices read from other tiles, or write for them: unions by variable."""
    touched: dict[int, list[tuple[Access, Ints]]] = {}
    for family, mine in zip(families, points, strict=True):
        for spec in family.codelet.fields:
            if len(mine) and (spec.writes if writes else spec.reads):
                access = family.fields[spec.name]
                touched.setdefault(access.variable, []).append((access, mine))
    pieces: list[Piece] = []
    for id_, found in touched.items():
        begins, ends = [], []
        for access, mine in found:
            runs = access.runs()
            starts = (np.unique(access.offset.at(mine))[:, None] + runs[:, 0]).reshape(-1)
            begins.append(starts)
            ends.append(starts + np.tile(runs[:, 1], len(starts) // max(len(runs), 1)))
        joined = np.concatenate(begins), np.concatenate(ends)
        if len(joined[0]):
            pieces += _by_home(program, id_, *merge(*joined), tile)
    return _sorted(pieces)


def _by_home(program: Program, id_: int, begins: Ints, ends: Ints, tile: int) -> list[Piece]:
    """Bytes of disjoint intervals [begin, end) of a variable by the tiles on which they live."""
    variable = program.variables[id_]
    mapping = variable.mapped()
    bounds = np.append(mapping.starts, variable.size)
    first = np.searchsorted(mapping.starts, begins, side="right") - 1
    last = np.searchsorted(mapping.starts, ends, side="left") - 1
    count = last - first + 1
    row = np.repeat(np.arange(len(begins)), count)
    piece = np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count) + first[row]
    length = np.minimum(bounds[piece + 1], ends[row]) - np.maximum(bounds[piece], begins[row])
    home = mapping.tiles[piece]
    homes, which = np.unique(home, return_inverse=True)
    size = np.bincount(which, weights=length).astype(np.int64) * variable.itemsize
    return [
        Piece(other, variable.name, amount)
        for other, amount in zip(homes.tolist(), size.tolist(), strict=True)
        if other != tile
    ]


def _sorted(pieces: Iterable[Piece]) -> tuple[Piece, ...]:
    return tuple(sorted(pieces, key=lambda piece: (-piece.bytes, piece.tile, piece.variable)))
