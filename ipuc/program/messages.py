"""Count exchange messages: contiguous runs that one tile sends to another in a superstep."""

from __future__ import annotations

import math

import numpy as np

from ipuc.program.family import Access, IndexMap, VertexFamily
from ipuc.program.program import Program
from ipuc.program.regions import CHUNK, point_chunks, sorted_runs
from ipuc.program.steps import ComputeSet, Execute, Sweep
from ipuc.program.variables import TileMapping, Variable
from ipuc.types import Ints


def count_messages(program: Program) -> int:
    """Count the source intervals that the exchange brings together for all vertices, once each.

    In every superstep, each tile needs the union of what its vertices read of a variable. What of
    it lives elsewhere is cut where the source tile changes; each contiguous piece is one message.
    What vertices write for another tile is sent home in the same way. Copies are not counted here.

    Raises:
        ProgramError: a variable is not mapped.
    """
    total = 0
    counted: set[int] = set()
    for step in program.bodies():
        if isinstance(step, Execute | Sweep) and id(step.compute_set) not in counted:
            counted.add(id(step.compute_set))
            total += _of_compute_set(program, step.compute_set, sweep=isinstance(step, Sweep))
    return total


def _of_compute_set(program: Program, compute_set: ComputeSet, *, sweep: bool) -> int:
    readers: dict[int, list[tuple[VertexFamily, Access]]] = {}
    writers: dict[int, list[tuple[VertexFamily, Access]]] = {}
    for family in compute_set.families:
        for spec in family.codelet.fields if family.count else ():
            access = family.fields[spec.name]
            if spec.reads:
                readers.setdefault(access.variable, []).append((family, access))
            if spec.writes:
                writers.setdefault(access.variable, []).append((family, access))
    total = 0
    for users in (readers, writers):
        for id_, found in users.items():
            variable = program.variables[id_]
            span = Span(variable.size + 1, program.target.all_tiles)
            for family, access in found:
                span.add(family, access, sweep=sweep)
            total += span.remote(variable)
    return total


class Span:
    """Unions of element intervals, one for each tile in each superstep, on one long line.

    Tile t in superstep s owns the places from (s * tiles + t) * width on; the width is one more
    than the elements, so that intervals of two tiles never meet.

    Args:
        width: elements of the variable, and one.
        tiles: tiles of the target.
    """

    def __init__(self, width: int, tiles: int) -> None:
        self.width = width
        self.tiles = tiles
        self._begins: list[Ints] = []
        self._ends: list[Ints] = []
        self._held = 0

    def add(self, family: VertexFamily, access: Access, *, sweep: bool) -> None:
        """Add what one field of all vertices of a family reaches.

        Args:
            family: the vertices.
            access: one of its fields.
            sweep: each position of the first grid axis is a superstep of its own.
        """
        runs = sorted_runs(access)
        if not len(runs):
            return
        offset, tile = _once(access.offset, family.tile, first=int(sweep))
        inner = math.prod(offset.grid[1:])
        equal = bool((runs[:, 1] == runs[0, 1]).all())
        for points in point_chunks(math.prod(offset.grid), len(runs)):
            owner = tile.at(points)
            if sweep:
                owner += points // inner * self.tiles
            begins = owner * self.width + offset.at(points)
            begins = (begins[:, None] + runs[:, 0]).reshape(-1)
            if equal:
                begins.sort()
                ends = begins + runs[0, 1]
            else:
                ends = begins + np.tile(runs[:, 1], len(points))
            begins, ends = merge(begins, ends)
            self._begins.append(begins)
            self._ends.append(ends)
            self._held += len(begins)
            if self._held > 2 * CHUNK:
                self.intervals()

    def intervals(self) -> tuple[Ints, Ints]:
        """All intervals so far as a union: ascending, neither overlapping nor touching."""
        if not self._begins:
            return np.empty(0, np.int64), np.empty(0, np.int64)
        begins, ends = merge(np.concatenate(self._begins), np.concatenate(self._ends))
        self._begins, self._ends, self._held = [begins], [ends], 0
        return begins, ends

    def remote(self, variable: Variable) -> int:
        """Count pieces of the intervals that live on one tile other than their own."""
        begins, ends = self.intervals()
        if not len(begins):
            return 0
        mapping = TileMapping.of_intervals(variable.mapped().starts, variable.mapped().tiles)
        line = begins // self.width
        tile = line % self.tiles
        first = np.searchsorted(mapping.starts, begins - line * self.width, side="right") - 1
        last = np.searchsorted(mapping.starts, ends - line * self.width, side="left") - 1
        # Of the pieces first..last, those on the own tile: a range of places ordered by tile.
        pieces = len(mapping.starts)
        places = np.sort(mapping.tiles * pieces + np.arange(pieces))
        own = np.searchsorted(places, tile * pieces + last, side="right")
        own -= np.searchsorted(places, tile * pieces + first, side="left")
        return int((last - first + 1 - own).sum())


def merge(begins: Ints, ends: Ints) -> tuple[Ints, Ints]:
    """Join intervals that overlap or touch: (begins, ends), ascending."""
    if (begins[1:] < begins[:-1]).any():
        order = np.argsort(begins)
        begins, ends = begins[order], ends[order]
    reach = np.maximum.accumulate(ends)
    opens = np.ones(len(begins), bool)
    np.greater(begins[1:], reach[:-1], out=opens[1:])
    closes = np.append(opens[1:], True)
    return begins[opens], reach[closes]


def _once(offset: IndexMap, tile: IndexMap, first: int) -> tuple[IndexMap, IndexMap]:
    """Drop axes, from `first` on, along which one tile reaches the same elements again."""
    same = zip(offset.shared_axes(), tile.shared_axes(), strict=True)
    for axis, (shared, one_tile) in enumerate(same):
        if axis >= first and shared and one_tile:
            offset, tile = offset.slice(axis, 0), tile.slice(axis, 0)
    return offset, tile
