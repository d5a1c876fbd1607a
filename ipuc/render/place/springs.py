"""Linear springs along edges, summed row by row."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ipuc.render.touches import Touches, cuts

Int32s = NDArray[np.int32]
Floats = NDArray[np.float32]
Complexes = NDArray[np.complex64]

#: Edges handled at once: bounds the memory of a gather.
BLOCK = 1 << 21


class Springs(Protocol):
    """Springs between n nodes.

    Attributes:
        stiffness: [n] sum of the weights of every node's springs.
    """

    stiffness: Floats

    def pull(self, z: Complexes, out: Complexes) -> None:
        """Add w * z of every node's neighbours; the force is that minus stiffness * z."""


class PairSprings:
    """Springs along m edges with a weight each.

    Every edge is held twice, sorted by one end and by the other, so that a row's pull is one
    contiguous sum.
    """

    def __init__(self, nodes: int, left: Int32s, right: Int32s, weight: Floats) -> None:
        self._halves = []
        for row, col in ((left, right), (right, left)):
            order = np.argsort(row, kind="stable")
            self._halves.append((_Rows(row[order]), col[order], weight[order]))
        self.stiffness: Floats = _stiffness(self, nodes)

    def pull(self, z: Complexes, out: Complexes) -> None:
        """Add w * z of every node's neighbours."""
        for rows, col, weight in self._halves:
            for edges, starts, row in rows.blocks():
                part = z[col[edges]]
                part *= weight[edges]
                out[row] += np.add.reduceat(part, starts)


class RangeSprings:
    """Springs along the edges of a vertex graph; those of one region are equally strong.

    A range of regions is one difference of running sums, so that blocks in which every vertex
    touches every region cost their rows and columns, not their edges. Ranges of one region, most
    of all, are gathered.

    Args:
        touches: the edges; node i is vertex i, node v + i is region i.
        weight: strength of each of a region's springs: [r].
    """

    def __init__(self, touches: Touches, weight: Floats) -> None:
        self._vertices, self._weight = touches.vertices, weight
        vertex, long = touches.vertex(), touches.count > 1
        self._long_rows = _Rows(vertex[long])
        self._long_vertex = vertex[long]
        self._low, self._high = touches.low[long], touches.high[long]
        single = touches.low[~long]
        self._rows, self._single = _Rows(vertex[~long]), single
        # Sorting packed pairs is several times faster than an argsort and a gather.
        pair = (single.astype(np.int64) << 32) | vertex[~long]
        pair.sort()
        region = (pair >> 32).astype(np.int32)
        self._back_rows, self._back = _Rows(region), pair.astype(np.int32)
        self.stiffness: Floats = _stiffness(self, touches.vertices + touches.regions)

    def pull(self, z: Complexes, out: Complexes) -> None:
        """Add w * z of every node's neighbours."""
        to_vertex, to_region = out[: self._vertices], out[self._vertices :]
        weighted = z[self._vertices :] * self._weight
        for edges, starts, row in self._rows.blocks():
            to_vertex[row] += np.add.reduceat(weighted[self._single[edges]], starts)
        if self._low.size:
            self._ranges_to_vertices(weighted, to_vertex)
        del weighted
        back = np.zeros(to_region.size, np.complex64)
        if self._low.size:
            self._ranges_to_regions(z, back)
        for edges, starts, row in self._back_rows.blocks():
            part = z[self._back[edges]]
            back[row] += part if starts.size == part.size else np.add.reduceat(part, starts)
        back *= self._weight
        to_region += back

    def _ranges_to_vertices(self, weighted: Complexes, out: Complexes) -> None:
        running = np.zeros(weighted.size + 1, np.complex128)
        np.cumsum(weighted, out=running[1:])
        for edges, starts, row in self._long_rows.blocks():
            part = running[self._high[edges]]
            part -= running[self._low[edges]]
            out[row] += np.add.reduceat(part, starts).astype(np.complex64)

    def _ranges_to_regions(self, z: Complexes, out: Complexes) -> None:
        at = z[self._long_vertex]
        for part, into in ((at.real, out.real), (at.imag, out.imag)):
            change = np.bincount(self._low, part, out.size + 1)
            change -= np.bincount(self._high, part, out.size + 1)
            np.add(into, np.cumsum(change)[:-1], out=into, casting="same_kind")


class _Rows:
    """A sorted list of row numbers, in blocks of whole rows."""

    def __init__(self, row: Int32s) -> None:
        first = np.ones(row.size, bool)
        first[1:] = row[1:] != row[:-1]
        self._start = np.flatnonzero(first)
        if row.size < 1 << 31:
            self._start = self._start.astype(np.int32)
        self._row = row[self._start]
        self._size = row.size
        self._cuts = list(cuts(np.diff(self._start, append=row.size), BLOCK))

    def blocks(self) -> Iterator[tuple[slice, NDArray[np.int64], Int32s]]:
        """Slices of the list, where in it each row starts, and the rows."""
        for cut in self._cuts:
            begin = int(self._start[cut.start])
            end = int(self._start[cut.stop]) if cut.stop < self._start.size else self._size
            starts = (self._start[cut] - begin).astype(np.int64)
            yield slice(begin, end), starts, self._row[cut]


def _stiffness(springs: Springs, nodes: int) -> Floats:
    """Add up the weights of every node: [n]."""
    out = np.zeros(nodes, np.complex64)
    springs.pull(np.ones(nodes, np.complex64), out)
    return np.ascontiguousarray(out.real)
