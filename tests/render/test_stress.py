"""Oracles: figures that are known, and distances that networkx finds."""

import networkx as nx
import numpy as np
import pytest

from ipuc.render.place.stress import draw_by_stress
from ipuc.render.place.tangle import crossings


def drawn(graph: nx.Graph, seed: int = 0) -> tuple[np.ndarray, int]:
    left, right = np.array(graph.edges, np.int32).reshape(-1, 2).T
    z = draw_by_stress(len(graph), left, right, np.random.default_rng(seed))
    assert np.abs(z).max() <= 1
    return z, crossings(z, left, right)


def test_a_ring_is_a_regular_polygon() -> None:
    z, crossed = drawn(nx.cycle_graph(12))
    assert crossed == 0
    # all corners on one circle: the distances of a ring have no other rest
    np.testing.assert_allclose(np.abs(z - z.mean()), 0.9, atol=0.01)


@pytest.mark.parametrize("seed", [0, 1])
def test_trees_and_grids_are_drawn_without_crossings(seed: int) -> None:
    assert drawn(nx.balanced_tree(2, 4), seed)[1] == 0
    grid = nx.convert_node_labels_to_integers(nx.grid_2d_graph(5, 7))
    assert drawn(grid, seed)[1] == 0


def test_distances_on_paper_follow_those_in_the_graph() -> None:
    graph = nx.connected_watts_strogatz_graph(60, 4, 0.1, seed=0)
    z, _ = drawn(graph)
    wanted = nx.floyd_warshall_numpy(graph)
    apart = np.abs(z[:, None] - z[None, :])
    above = np.triu_indices(60, 1)
    # a ring with shortcuts has no exact drawing in the plane; a random one has 0.0
    assert np.corrcoef(apart[above], wanted[above])[0, 1] > 0.85


def test_parts_lie_apart_and_few_nodes_are_no_special_case() -> None:
    z, crossed = drawn(nx.disjoint_union_all([nx.path_graph(3)] * 5))
    assert crossed == 0
    middles = z.reshape(5, 3).mean(axis=1)
    inner = np.abs(z.reshape(5, 3) - middles[:, None]).max()
    between = np.abs(middles[:, None] - middles[None, :]) + 9 * np.eye(5)
    assert between.min() > inner
    none = np.zeros(0, np.int32)
    for nodes in (1, 2, 3):
        z = draw_by_stress(nodes, none, none, np.random.default_rng(0))
        assert np.unique(z).size == nodes
        assert np.isfinite(z).all()
