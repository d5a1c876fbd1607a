"""How tangled a small drawing is: of several layouts, the one to keep."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Complexes = NDArray[np.complex64]
Int32s = NDArray[np.int32]


def crossings(z: Complexes, left: Int32s, right: Int32s) -> int:
    """Count the pairs of edges that cross, ends not counted: m^2 work for m edges.

    Two segments cross when each has its ends on both sides of the other.
    """
    a, b = z[left].astype(np.complex128), z[right].astype(np.complex128)
    of_a = _side(a[:, None], b[:, None], a[None, :])
    of_b = _side(a[:, None], b[:, None], b[None, :])
    split = of_a * of_b < 0
    return int(np.count_nonzero(split & split.T)) // 2


def _side(
    start: NDArray[np.complex128], end: NDArray[np.complex128], point: NDArray[np.complex128]
) -> NDArray[np.float64]:
    """Twice the signed area of (start, end, point): its sign says on which side the point is."""
    along, away = end - start, point - start
    area: NDArray[np.float64] = along.real * away.imag - along.imag * away.real
    # A common end lies on the line up to rounding, and is no crossing.
    return np.where(np.abs(area) < 1e-9, 0.0, area)


def spectral(nodes: int, left: Int32s, right: Int32s, group: Int32s) -> NDArray[np.complex128]:
    """Draw each group by the two smoothest vectors of its Laplacian: an unfolded start.

    Dense, n^3 work per group of n nodes. Source: Koren, "Drawing graphs by eigenvectors" (2005).

    Returns:
        [nodes] positions, each group in the unit disc round 0.
    """
    z = np.zeros(nodes, np.complex128)
    inside = group[left] == group[right]
    for label in np.unique(group).tolist():
        members = np.flatnonzero(group == label)
        if members.size < 3:
            z[members] = np.arange(members.size)
            continue
        local = np.zeros(nodes, np.int64)
        local[members] = np.arange(members.size)
        here = inside & (group[left] == label)
        a, b = local[left[here]], local[right[here]]
        laplacian = np.zeros((members.size, members.size))
        laplacian[a, b] = laplacian[b, a] = -1
        laplacian -= np.diag(laplacian.sum(axis=1))
        _, vectors = np.linalg.eigh(laplacian)
        drawn = vectors[:, 1] + 1j * vectors[:, 2]
        z[members] = drawn / max(float(np.abs(drawn).max()), 1e-12)
    return z
