"""The split rule, and linear mappings made with it."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ipuc.program.split import balanced_parts, bounds, split_axis

totals = st.integers(0, 500)
parts = st.integers(1, 60)
grains = st.integers(1, 9)


@given(totals, parts, grains)
def test_parts_cover_the_axis_in_order_and_differ_by_one_grain(
    total: int, count: int, grain: int
) -> None:
    edges = bounds(total, count, grain)
    assert edges.shape == (count + 1,)
    assert edges[0] == 0
    assert edges[-1] == total
    sizes = np.diff(edges)
    assert (sizes >= 0).all()
    assert (edges[:-1] % grain == 0).sum() + (edges[:-1] == total).sum() >= count
    in_grains = -(-sizes // grain)
    assert in_grains.max() - in_grains.min() <= 1


@given(totals, parts)
def test_the_rule_is_the_floor_of_whole_numbers(total: int, count: int) -> None:
    assert bounds(total, count).tolist() == [i * total // count for i in range(count + 1)]


@given(totals, parts, grains)
def test_groups_of_equal_parts_are_all_the_parts(total: int, count: int, grain: int) -> None:
    groups = split_axis(total, count, grain)
    # two sizes, and the short last grain makes a third
    assert len(groups) <= 3
    assert len({group.size for group in groups}) == len(groups)
    covered = np.zeros(total, int)
    edges = bounds(total, count, grain)
    for group in groups:
        assert group.size > 0
        assert len(group) == len(group.index) == len(group.begin)
        assert (np.diff(group.index) > 0).all()
        np.testing.assert_array_equal(edges[group.index], group.begin)
        for begin in group.begin:
            covered[begin : begin + group.size] += 1
    assert (covered == 1).all()


@given(st.integers(1, 500), parts, grains, st.integers(1, 64))
def test_balanced_parts_are_the_fewest_of_that_size(
    total: int, most: int, grain: int, least: int
) -> None:
    count = balanced_parts(total, most, grain, least)
    assert 1 <= count <= most
    whole, wanted = -(-total // grain), -(-least // grain)
    fullest = -(-whole // count)
    if count > 1:
        assert -(-whole // (count - 1)) > fullest, "one part less would be no fuller"
        assert whole // count >= wanted, "a part is smaller than asked for"
    if wanted == 1:
        assert fullest == -(-whole // most)


def test_balanced_parts_of_small_vectors_stay_together() -> None:
    assert balanced_parts(16, 4, 1, 32) == 1
    assert balanced_parts(128, 4, 1, 32) == 4
    assert balanced_parts(100, 64, 1, 32) == 3
    assert balanced_parts(10, 4) == 4
    assert balanced_parts(9, 4) == 3  # parts of 3, 3, 3: four would be no smaller
