"""Linear springs along edges, summed row by row."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Int32s = NDArray[np.int32]
Floats = NDArray[np.float32]
Complexes = NDArray[np.complex64]

#: Edges handled at once: bounds the memory of a gather.
BLOCK = 1 << 21


class Springs:
    """Springs of an undirected graph with n nodes and m edges.

    Every edge is held twice, sorted by one end and by the other, so that a row's pull is one
    contiguous sum. Weights are per edge, or per `right` node: all springs of one elementary region
    are equally strong, and then no weight is stored per edge.

    Attributes:
        stiffness: [n] sum of the weights of every node's springs.
    """

    def __init__(
        self,
        nodes: int,
        left: Int32s,
        right: Int32s,
        *,
        edge_weight: Floats | None = None,
        right_weight: Floats | None = None,
    ) -> None:
        self._right_weight = right_weight
        weight = None if right_weight is not None else edge_weight
        self._halves = (_Half(left, right, weight), _Half(right, left, weight))
        ones = np.ones(nodes, np.complex64)
        self.stiffness: Floats = np.ascontiguousarray(self.pull(ones).real)

    def pull(self, z: Complexes) -> Complexes:
        """Sum w * z of every node's neighbours: [n]; the force is that minus stiffness * z."""
        out = np.zeros(z.size, np.complex64)
        to_left, to_right = self._halves
        weight = self._right_weight
        if weight is None:
            to_left.add(z, out)
            to_right.add(z, out)
            return out
        to_left.add(z * weight, out)
        back = np.zeros(z.size, np.complex64)
        to_right.add(z, back)
        back *= weight
        out += back
        return out

    def force(self, z: Complexes) -> Complexes:
        """Force on every node: [n], sum of w * (z_j - z_i)."""
        return self.pull(z) - self.stiffness * z


class _Half:
    """The edges as rows of one end: which neighbours each row sums."""

    def __init__(self, row: Int32s, col: Int32s, weight: Floats | None) -> None:
        if weight is None:
            # Sorting packed pairs is several times faster than an argsort and a gather.
            if row.size and bool((row[1:] < row[:-1]).any()):
                pair = np.sort((row.astype(np.int64) << 32) | col)
                row, col = (pair >> 32).astype(np.int32), pair.astype(np.int32)
        else:
            order = np.argsort(row, kind="stable")
            row, col, weight = row[order], col[order], weight[order]
        self._col = col
        self._weight = weight
        first = np.ones(row.size, bool)
        first[1:] = row[1:] != row[:-1]
        self._start = np.flatnonzero(first)
        self._row = row[self._start]
        # Blocks of whole rows, about BLOCK edges each (more if one row is longer).
        wanted = np.arange(0, row.size, BLOCK)
        self._cuts = np.unique(np.searchsorted(self._start, wanted))

    def add(self, z: Complexes, out: Complexes) -> None:
        """Add each row's weighted sum of neighbour positions to `out`."""
        if not self._row.size:
            return
        ends = [*self._cuts[1:].tolist(), self._row.size]
        for low, high in zip(self._cuts.tolist(), ends, strict=True):
            begin = int(self._start[low])
            end = int(self._start[high]) if high < self._row.size else self._col.size
            part = z[self._col[begin:end]]
            if self._weight is not None:
                part *= self._weight[begin:end]
            out[self._row[low:high]] += np.add.reduceat(part, self._start[low:high] - begin)
