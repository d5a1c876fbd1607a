"""One coarse level: all nodes of one (cell, layer pass, tile) as one.

The compiler knows these clusters, so nothing is searched. Springs are linear and charges add, so
the coarse graph is exact as long as a cluster moves as a whole.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ipuc.render.place.forces import Forces, Parameters
from ipuc.render.place.springs import PairSprings
from ipuc.render.scene import Scene
from ipuc.render.touches import Touches

Int32s = NDArray[np.int32]
Floats = NDArray[np.float32]

#: Bits of the packed cluster key: layer pass and tile below the cell.
_TILE_BITS, _LAYER_BITS = 24, 18

#: Ranges handled at once while clusters are joined: bounds the memory of the packed pairs.
_BLOCK = 1 << 22


@dataclass(frozen=True, slots=True)
class Coarse:
    """k clusters of n nodes.

    Attributes:
        cluster: [n] cluster of every node.
        group: [k] bound cell of every cluster, or the sea.
        charge: [k] charges, summed.
        springs: the springs between clusters, added up.
    """

    cluster: Int32s
    group: Int32s
    charge: Floats
    springs: PairSprings

    @property
    def clusters(self) -> int:
        """Number of clusters."""
        return int(self.group.size)


def coarsen(scene: Scene, forces: Forces, parameters: Parameters) -> Coarse:
    """Gather the nodes of bound cells by layer pass and tile, and the sea by component."""
    key = forces.group.astype(np.int64) << (_TILE_BITS + _LAYER_BITS)
    sea = forces.group == forces.bound
    inside = (scene.layer.astype(np.int64) << _TILE_BITS) | scene.tile
    key |= np.where(sea, scene.cell, inside)
    cluster, first = _numbered(key)
    charge = np.bincount(cluster, weights=forces.charge).astype(np.float32)
    group = forces.group[first]
    a, b, weight = _join(scene, forces, cluster, group, parameters.between_cells)
    springs = PairSprings(first.size, a, b, weight)
    return Coarse(cluster, group, charge, springs)


def _numbered(key: NDArray[np.int64]) -> tuple[Int32s, NDArray[np.int64]]:
    """Number keys from 0 in ascending order: [n] numbers, and one place of each.

    Neighbours mostly share a key: only the first of each run is sorted.
    """
    run = np.ones(key.size, bool)
    run[1:] = key[1:] != key[:-1]
    starts = np.flatnonzero(run)
    _, first, number = np.unique(key[starts], return_index=True, return_inverse=True)
    lengths = np.diff(starts, append=key.size)
    return np.repeat(number.astype(np.int32), lengths), starts[first]


def _join(
    scene: Scene, forces: Forces, cluster: Int32s, group: Int32s, between: float
) -> tuple[Int32s, Int32s, Floats]:
    """Add up the springs between every two clusters: their ends and weights."""
    vertices = scene.vertices
    source, distinct, times = _distinct(scene.touches, cluster)
    change = np.ones(scene.regions, bool)
    change[1:] = cluster[vertices + 1 :] != cluster[vertices:-1]
    touches = distinct.split(change)
    owner = touches.vertex()
    running = np.zeros(scene.regions + 1)
    np.cumsum(forces.region_spring, out=running[1:])
    keys, sums = [np.zeros(0, np.int64)], [np.zeros(0)]
    for start in range(0, touches.low.size, _BLOCK):
        block = slice(start, start + _BLOCK)
        of, low = owner[block], touches.low[block]
        weight = running[low + touches.count[block]] - running[low]
        weight *= times[of]
        a, b = source[of], cluster[low + np.int32(vertices)]
        weight[group[a] != group[b]] *= between
        apart = a != b
        a, b, weight = a[apart], b[apart], weight[apart]
        _merge(keys, sums, (np.minimum(a, b).astype(np.int64) << 32) | np.maximum(a, b), weight)
    if len(keys) > 2:
        parts = np.concatenate(keys), np.concatenate(sums)
        keys, sums = [], []
        _merge(keys, sums, *parts)
    pair, weight = np.concatenate(keys), np.concatenate(sums)
    low, high = (pair >> 32).astype(np.int32), (pair & 0xFFFFFFFF).astype(np.int32)
    return low, high, weight.astype(np.float32)


def _distinct(touches: Touches, cluster: Int32s) -> tuple[Int32s, Touches, Int32s]:
    """Count equal long ranges of one cluster's vertices once, before they are cut into pieces.

    Returns:
        [k] the cluster of every range; the ranges, each as if of a vertex of its own; and [k] how
        many vertices have it.
    """
    source, long = cluster[touches.vertex()], touches.count > 1
    low, count, key = touches.low[long], touches.count[long], source[long]
    order = np.lexsort((count, low, key))
    low, count, key = low[order], count[order], key[order]
    new = np.ones(low.size, bool)
    new[1:] = (low[1:] != low[:-1]) | (count[1:] != count[:-1]) | (key[1:] != key[:-1])
    start = np.flatnonzero(new)
    single = ~long
    lows = np.concatenate([touches.low[single], low[start]])
    counts = np.concatenate([touches.count[single], count[start]])
    times = np.ones(lows.size, np.int32)
    times[lows.size - start.size :] = np.diff(start, append=low.size)
    each = Touches(np.arange(lows.size + 1), lows, counts, touches.regions)
    return np.concatenate([source[single], key[start]]), each, times


def _merge(
    keys: list[NDArray[np.int64]],
    sums: list[NDArray[np.float64]],
    key: NDArray[np.int64],
    weight: NDArray[np.float64],
) -> None:
    """Append the distinct keys and the sum of their weights."""
    order = np.argsort(key, kind="stable")
    key, weight = key[order], weight[order]
    first = np.ones(key.size, bool)
    first[1:] = key[1:] != key[:-1]
    start = np.flatnonzero(first)
    if start.size:
        keys.append(key[start])
        sums.append(np.add.reduceat(weight, start))
