"""Oracle: networkx for components; a hand-made graph for the cut into cells."""

import networkx as nx
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ipuc.render.cells import cells_of, components, sea_limit
from ipuc.render.touches import touches_of_edges

Pair = tuple[list[int], list[int]]


@st.composite
def graphs(draw: st.DrawFn) -> tuple[int, Pair]:
    nodes = draw(st.integers(1, 40))
    ends = st.lists(st.integers(0, nodes - 1), min_size=0, max_size=60)
    left = draw(ends)
    right = draw(st.lists(st.integers(0, nodes - 1), min_size=len(left), max_size=len(left)))
    return nodes, (left, right)


@given(graphs())
@settings(max_examples=150, deadline=None)
def test_components_equal_networkx(graph: tuple[int, Pair]) -> None:
    nodes, (left, right) = graph
    labels = components(nodes, np.array(left, np.int32), np.array(right, np.int32))
    oracle = nx.Graph()
    oracle.add_nodes_from(range(nodes))
    oracle.add_edges_from(zip(left, right, strict=True))
    parts = sorted(nx.connected_components(oracle), key=min)
    for label, part in enumerate(parts):
        assert set(np.flatnonzero(labels == label).tolist()) == part


def test_components_of_a_long_path_and_a_hub_take_few_rounds() -> None:
    order = np.random.default_rng(0).permutation(100_000).astype(np.int32)
    assert components(100_000, order[:-1], order[1:]).max() == 0
    hub = np.full(99_999, 99_999, np.int32)
    assert components(100_000, np.arange(99_999, dtype=np.int32), hub).max() == 0


def two_layers(shared: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two chains of 100 vertices, one per layer, that read `shared` common regions."""
    vertex, region = [], []
    for part in range(2):
        chain, links = np.arange(100) + 100 * part, np.arange(100) + 100 * part
        vertex += [chain, chain[1:]]
        region += [links, links[:-1]]
    for k in range(shared):
        vertex.append(np.array([0, 100, 101]))
        region.append(np.full(3, 200 + k))
    left, right = (np.concatenate(part).astype(np.int32) for part in (vertex, region))
    return np.repeat([0, 1], 100).astype(np.int32), left, right


def test_layers_that_share_variables_are_cut_and_a_region_goes_where_most_edges_are() -> None:
    layer, vertex, region = two_layers(3)
    assert components(403, vertex, region + 200).max() == 0
    cell = cells_of(layer, touches_of_edges(200, 203, vertex, region))
    assert set(cell[:100]) == {0}
    assert set(cell[100:200]) == {1}
    assert set(cell[400:]) == {1}


def test_a_region_that_equally_many_read_stays_with_its_writer() -> None:
    layer, vertex, region = two_layers(0)
    vertex = np.append(vertex, [0, 100]).astype(np.int32)
    region = np.append(region, [200, 200]).astype(np.int32)
    assert cells_of(layer, touches_of_edges(200, 201, vertex, region))[400] == 0


def test_two_passes_of_one_layer_stay_one_cell() -> None:
    layer, vertex, region = two_layers(3)
    assert cells_of(0 * layer, touches_of_edges(200, 203, vertex, region)).max() == 0


def test_small_pieces_go_back_to_their_neighbour() -> None:
    # Every vertex of the first layer writes a region that one vertex of a third layer reads.
    layer, vertex, region = two_layers(0)
    extra = np.arange(100, dtype=np.int32)
    layer = np.append(layer, np.full(100, 2)).astype(np.int32)
    vertex = np.concatenate([vertex, extra, extra + 200]).astype(np.int32)
    region = np.concatenate([region, extra + 200, extra + 200]).astype(np.int32)
    cell = cells_of(layer, touches_of_edges(300, 300, vertex, region))
    assert set(cell[:100]) == set(cell[200:300]) == set(cell[500:]) == {0}
    assert cell.max() == 1


@given(st.integers(1, 30), st.integers(1, 30), st.integers(0, 2**31))
@settings(max_examples=60, deadline=None)
def test_cells_of_one_layer_are_networkx_components(left: int, right: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    present = np.argwhere(rng.random((left, right)) < 0.1).astype(np.int32)
    touches = touches_of_edges(left, right, present[:, 0], present[:, 1])
    oracle = nx.Graph()
    oracle.add_nodes_from(range(left + right))
    oracle.add_edges_from((int(a), int(left + b)) for a, b in present)
    cell = cells_of(np.zeros(left, np.int32), touches)
    for label, part in enumerate(sorted(nx.connected_components(oracle), key=min)):
        assert set(np.flatnonzero(cell == label).tolist()) == part


def test_the_sea_limit_never_swallows_a_small_graph() -> None:
    assert sea_limit(12) == 0
    assert sea_limit(1_000_000) == 1500
    assert sea_limit(18_700_000) == 18_700
