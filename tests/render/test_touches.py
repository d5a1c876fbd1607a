"""Oracle: the edges one by one, as sets of pairs."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ipuc.render.touches import Touches, cuts, touches_of_edges


def random_touches(seed: int) -> tuple[Touches, np.ndarray]:
    rng = np.random.default_rng(seed)
    vertices, regions = rng.integers(1, 12, 2).tolist()
    dense = rng.random((vertices, regions)) < rng.random()
    pair = rng.permutation(np.argwhere(dense)).astype(np.int32)
    return touches_of_edges(vertices, regions, pair[:, 0], pair[:, 1]), dense


def dense_of(touches: Touches, limit: int = 5) -> np.ndarray:
    dense = np.zeros((touches.vertices, touches.regions), int)
    for vertex, region in touches.edges_in_blocks(limit):
        np.add.at(dense, (vertex, region), 1)
    return dense


@given(st.integers(0, 2**31), st.integers(1, 20))
@settings(max_examples=100, deadline=None)
def test_edges_and_sums_over_them(seed: int, limit: int) -> None:
    touches, dense = random_touches(seed)
    np.testing.assert_array_equal(dense_of(touches, limit), dense)
    assert touches.edges == dense.sum()
    np.testing.assert_array_equal(touches.degree(), dense.sum(axis=1))
    np.testing.assert_array_equal(touches.region_degree(), dense.sum(axis=0))
    value = np.arange(touches.vertices, dtype=np.float64)
    np.testing.assert_array_equal(touches.spread(value), value @ dense)


@given(st.integers(0, 2**31))
@settings(max_examples=100, deadline=None)
def test_a_split_keeps_the_edges_and_ends_ranges_where_labels_change(seed: int) -> None:
    touches, dense = random_touches(seed)
    label = np.random.default_rng(seed + 1).integers(0, 3, touches.regions)
    edge = np.ones(touches.regions, bool)
    edge[1:] = label[1:] != label[:-1]
    split = touches.split(edge)
    np.testing.assert_array_equal(dense_of(split), dense)
    for low, high in zip(split.low, split.high, strict=True):
        assert len(set(label[low:high])) == 1
    keep = label[split.low] == 1
    np.testing.assert_array_equal(dense_of(split.chosen(keep)), dense & (label == 1))


@given(st.lists(st.integers(1, 9), max_size=30), st.integers(1, 12))
def test_cuts_cover_a_list(counts: list[int], limit: int) -> None:
    slices = list(cuts(np.array(counts, np.int64), limit))
    assert [i for s in slices for i in range(s.start, s.stop)] == list(range(len(counts)))
    assert all(sum(counts[s]) < limit + 9 for s in slices)
