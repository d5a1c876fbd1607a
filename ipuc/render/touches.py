"""Which regions every compute vertex touches: the edges of a vertex graph, as ranges.

Regions are numbered in device layout order, so what a field reaches is mostly a few ranges of
successive regions: a row of a fully connected layer is two ranges, not thousands of edges. The
117 million edges of a training graph are 24 million ranges, and sums over a range are differences
of running sums.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ipuc.program.enumerate import VertexGraph

Int32s = NDArray[np.int32]
Int64s = NDArray[np.int64]

#: Edges of a block of `Touches.edges_in_blocks`.
BLOCK = 1 << 21


@dataclass(frozen=True, slots=True)
class Touches:
    """The edges of a bipartite graph of v vertices and r regions, as k ranges of regions.

    Attributes:
        first: vertex i has ranges first[i] to first[i + 1]: int64[v + 1].
        low: first region of every range, ascending for each vertex: int32[k].
        count: regions of every range, at least 1; ranges of a vertex are disjoint: int32[k].
        regions: number of regions.
    """

    first: Int64s
    low: Int32s
    count: Int32s
    regions: int

    @property
    def vertices(self) -> int:
        """Number of vertices."""
        return self.first.size - 1

    @property
    def edges(self) -> int:
        """Number of (vertex, region) pairs."""
        return int(self.count.sum(dtype=np.int64))

    @property
    def high(self) -> Int32s:
        """One past the last region of every range: int32[k]."""
        return self.low + self.count

    def vertex(self) -> Int32s:
        """The vertex of every range: int32[k]."""
        return np.repeat(np.arange(self.vertices, dtype=np.int32), np.diff(self.first))

    def degree(self) -> Int64s:
        """Edges of every vertex: int64[v]."""
        running = np.zeros(self.low.size + 1, np.int64)
        np.cumsum(self.count, out=running[1:])
        return np.diff(running[self.first])

    def spread(self, value: NDArray[np.float64]) -> NDArray[np.float64]:
        """Sum over every region's edges of the vertex's value: float64[r]."""
        carried = np.repeat(value, np.diff(self.first))
        change = np.bincount(self.low, carried, self.regions + 1).astype(np.float64, copy=False)
        change -= np.bincount(self.high, carried, self.regions + 1)
        running: NDArray[np.float64] = np.cumsum(change)
        return running[:-1]

    def region_degree(self) -> Int64s:
        """Edges of every region: int64[r]."""
        change = np.bincount(self.low, minlength=self.regions + 1)
        change -= np.bincount(self.high, minlength=self.regions + 1)
        return np.cumsum(change)[:-1]

    def edges_in_blocks(self, limit: int = BLOCK) -> Iterator[tuple[Int32s, Int32s]]:
        """All edges, vertex by vertex, regions ascending: (vertex, region), int32 each.

        Args:
            limit: about this many edges a block; one range is never cut.
        """
        vertex = self.vertex()
        for cut in cuts(self.count, limit):
            number = self.count[cut]
            yield np.repeat(vertex[cut], number), expand(self.low[cut], number)

    def split(self, edge: NDArray[np.bool_]) -> Touches:
        """Cut ranges wherever a region differs from the one before it.

        Args:
            edge: whether a region begins something new: bool[r].
        """
        part = np.cumsum(edge, dtype=np.int32)
        pieces = part[self.high - 1] - part[self.low] + 1
        if bool((pieces == 1).all()):
            return self
        starts = np.flatnonzero(edge).astype(np.int32)
        owner = np.repeat(np.arange(pieces.size), pieces)
        nth = expand(np.zeros_like(pieces), pieces)
        # the first piece begins where the range does, each other where something new begins
        known = np.searchsorted(starts, self.low, side="right").astype(np.int32)
        low = self.low[owner]
        later = nth > 0
        low[later] = starts[(known[owner] + nth - 1)[later]]
        high = self.high[owner]
        inner = np.flatnonzero(later)
        high[inner - 1] = low[inner]
        running = np.zeros(pieces.size + 1, np.int64)
        np.cumsum(pieces, out=running[1:])
        return Touches(running[self.first], low, high - low, self.regions)

    def chosen(self, keep: NDArray[np.bool_]) -> Touches:
        """Keep some ranges: bool[k]."""
        running = np.zeros(keep.size + 1, np.int64)
        np.cumsum(keep, out=running[1:])
        return Touches(running[self.first], self.low[keep], self.count[keep], self.regions)


def expand(low: Int32s, count: NDArray[np.integer[Any]]) -> Int32s:
    """List ranges, one after another: low[0], low[0] + 1, ... of count[0] numbers, and so on."""
    ends = np.cumsum(count, dtype=np.int64)
    total = int(ends[-1]) if ends.size else 0
    shift = (low - (ends - count)).astype(np.int32)
    found: Int32s = np.repeat(shift, count)
    found += np.arange(total, dtype=np.int32)
    return found


def cuts(count: NDArray[np.integer[Any]], limit: int) -> Iterator[slice]:
    """Cut a list into slices whose counts add up to about `limit`."""
    ends = np.cumsum(count, dtype=np.int64)
    total = int(ends[-1]) if ends.size else 0
    reached = np.searchsorted(ends, np.arange(limit, total, limit)) + 1
    for begin, end in pairwise(np.unique(np.concatenate([[0], reached, [count.size]])).tolist()):
        yield slice(begin, end)


def touches_of_edges(vertices: int, regions: int, vertex: Int32s, region: Int32s) -> Touches:
    """Gather edges into ranges.

    Args:
        vertices: number of vertices.
        regions: number of regions.
        vertex: vertex of every edge, in any order.
        region: region of every edge, from 0.
    """
    pair = np.unique((vertex.astype(np.int64) << 32) | region)
    head = np.ones(pair.size, bool)
    head[1:] = pair[1:] != pair[:-1] + 1
    start = np.flatnonzero(head)
    count = np.diff(np.append(start, pair.size)).astype(np.int32)
    low = (pair[start] & 0xFFFFFFFF).astype(np.int32)
    first = np.searchsorted(pair[start] >> 32, np.arange(vertices + 1))
    return Touches(first.astype(np.int64), low, count, regions)


def touches_of_graph(
    graph: VertexGraph, keep: NDArray[np.bool_] | None = None
) -> tuple[Touches, Int64s]:
    """Read the ranges off a program's families, block by block.

    Args:
        graph: of the program.
        keep: the regions to take, numbered among themselves; None for all: bool[r].

    Returns:
        The ranges, and the edges of every vertex to all regions, taken or not: int64[v].
    """
    lows, counts = [np.empty(0, np.int32)], [np.empty(0, np.int32)]
    ranges = np.zeros(graph.vertices + 1, np.int64)
    degree = np.zeros(graph.vertices, np.int64)
    rank = np.zeros(graph.regions + 1, np.int32)
    if keep is not None:
        np.cumsum(keep, out=rank[1:])
    for first, found, number in graph.ranges():
        low, count = found.astype(np.int32, copy=False), number.astype(np.int32, copy=False)
        rows = slice(first, first + len(low))
        degree[rows] = count.sum(axis=1)
        if keep is not None:
            high = rank[low + count]
            low = rank[low]
            count = high - low
        some, end = count > 0, low + count
        if not bool(some.all()):
            end[~some] = -1
            np.maximum.accumulate(end, axis=1, out=end)
        # Ranges that meet are one.
        head = some.copy()
        head[:, 1:] &= low[:, 1:] != end[:, :-1]
        ranges[1:][rows] = np.count_nonzero(head, axis=1)
        lows.append(low[head])
        if not bool((head == some).all()):
            count = _joined(count, head)
        counts.append(count[head])
    regions = graph.regions if keep is None else int(rank[-1])
    return Touches(np.cumsum(ranges), np.concatenate(lows), np.concatenate(counts), regions), degree


def _joined(count: Int32s, head: NDArray[np.bool_]) -> Int32s:
    """Give every range that begins at a head the regions of those that follow it: [n, pieces]."""
    start = np.flatnonzero(head)
    joined = np.zeros_like(count)
    if start.size:
        # What comes before the first head of a row is empty.
        joined.reshape(-1)[start] = np.add.reduceat(count.reshape(-1), start)
    return joined
