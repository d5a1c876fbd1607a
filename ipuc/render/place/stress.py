"""Small graphs, drawn to be read: distances on paper follow those in the graph, edges rarely cross.

Source: stress majorization, Gansner, Koren and North, "Graph drawing by stress majorization"
(2004), with weights of one over the squared distance.
"""

from __future__ import annotations

import networkx as nx
import numpy as np
from numpy.typing import NDArray

from ipuc.render.place.tangle import crossings, spectral

Complexes = NDArray[np.complex128]
Doubles = NDArray[np.float64]
Int32s = NDArray[np.int32]

#: Graphs up to this size are drawn so: the work grows with the square of both.
NODES, EDGES = 300, 1000

#: Steps from each start: drawings hardly change after them.
_STEPS = 150

#: Starts for a graph of 66 nodes; larger ones have fewer, in inverse proportion.
_STARTS, _FEWEST, _MOST = 1600, 4, 24


def draw_by_stress(
    nodes: int, left: Int32s, right: Int32s, rng: np.random.Generator
) -> NDArray[np.complex64]:
    """Draw a small graph from several starts; keep the drawing with the fewest crossings.

    Args:
        nodes: number of nodes.
        left: [m] one end of every edge.
        right: [m] the other end.
        rng: drawn from in a fixed order.

    Returns:
        [nodes] positions in the unit disc round 0, x + iy.
    """
    if nodes < 3:
        return (
            np.linspace(-0.4, 0.4, nodes).astype(np.complex64) if nodes > 1 else np.zeros(1, "c8")
        )
    distance = _distances(nodes, left, right)
    weight = 1 / np.maximum(distance, 1) ** 2
    np.fill_diagonal(weight, 0)
    inverse = np.asarray(np.linalg.pinv(np.diag(weight.sum(axis=1)) - weight), np.float64)
    unfolded = spectral(nodes, left, right, np.zeros(nodes, np.int32)) * distance.max() / 2
    best: tuple[tuple[int, float], Complexes] | None = None
    for start in range(int(np.clip(_STARTS // nodes, _FEWEST, _MOST))):
        # Later starts are looser copies of the unfolded one.
        noise = rng.standard_normal(nodes) + 1j * rng.standard_normal(nodes)
        z = _settled(unfolded + (0.05 + 0.1 * start) * noise, distance, weight, inverse)
        apart = np.abs(z[:, None] - z[None, :])
        stress = float((weight * (apart - distance) ** 2).sum())
        score = crossings(z.astype(np.complex64), left, right), stress
        if best is None or score < best[0]:
            best = score, z
    assert best is not None
    z = best[1]
    middle = 0.5 * (z.real.max() + z.real.min() + 1j * (z.imag.max() + z.imag.min()))
    z = z - middle
    return np.asarray(0.9 * z / max(float(np.abs(z).max()), 1e-12), np.complex64)


def _distances(nodes: int, left: Int32s, right: Int32s) -> Doubles:
    """Edges between every two nodes; parts that hang together lie two edges apart: [n, n]."""
    graph = nx.Graph()
    graph.add_nodes_from(range(nodes))
    graph.add_edges_from(zip(left.tolist(), right.tolist(), strict=True))
    found = np.full((nodes, nodes), np.nan)
    for source, reached in nx.all_pairs_shortest_path_length(graph):
        found[source, list(reached)] = list(reached.values())
    # A part takes the room of a disc of its nodes.
    sizes = np.isfinite(found).sum(axis=1)
    room = 1 + 0.6 * (np.sqrt(sizes)[:, None] + np.sqrt(sizes)[None, :])
    return np.where(np.isnan(found), room, found)


def _settled(z: Complexes, distance: Doubles, weight: Doubles, inverse: Doubles) -> Complexes:
    """Majorize the stress from one start."""
    wanted = -weight * distance
    for _ in range(_STEPS):
        apart = np.abs(z[:, None] - z[None, :])
        ratio = wanted / np.maximum(apart, 1e-9)
        np.fill_diagonal(ratio, 0)
        pull = ratio @ z - ratio.sum(axis=1) * z
        z = inverse @ pull
    return z
