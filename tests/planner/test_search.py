"""The tables of candidate splits, and the sizes that splits make."""

from __future__ import annotations

import itertools
import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ipuc.planner.plan import Table
from ipuc.planner.search import candidates, rank, useful_splits
from ipuc.planner.worst import dearest, fullest, part_sizes
from ipuc.program.split import bounds
from ipuc.types import Ints

FEW = settings(max_examples=150, deadline=None)


@given(grains=st.integers(1, 300), most=st.integers(1, 300))
@FEW
def test_useful_splits(grains: int, most: int) -> None:
    """Every fullest part that some split makes is made, by the smallest split that does."""
    every = [(-(-grains // split), split) for split in range(1, min(grains, most) + 1)]
    smallest: dict[int, int] = {}
    for size, split in every:
        smallest.setdefault(size, split)
    assert useful_splits(grains, most).tolist() == sorted(smallest.values())


@given(grains=st.lists(st.integers(1, 12), min_size=1, max_size=4), most=st.integers(1, 40))
@FEW
def test_candidates_are_all_combinations_that_fit(grains: list[int], most: int) -> None:
    """Against brute force: no row is missing, too large, or there twice."""
    options = [useful_splits(count, most).tolist() for count in grains]
    wanted = {row for row in itertools.product(*options) if math.prod(row) <= most}
    table = candidates(grains, most)
    assert len(table) == len(wanted)
    assert {tuple(row) for row in table.tolist()} == wanted


@given(total=st.integers(1, 200), grain=st.integers(1, 16), parts=st.integers(1, 60))
@FEW
def test_part_sizes_are_those_of_the_split_rule(total: int, grain: int, parts: int) -> None:
    """The closed form knows every size that the rule makes, and no other."""
    parts = min(parts, -(-total // grain))
    made = set(np.diff(bounds(total, parts, grain)).tolist())
    assert set(part_sizes(total, parts, grain).tolist()) == made
    assert fullest(total, np.array([parts]), grain).tolist() == [max(made)]


def test_the_dearest_tile_may_be_a_small_one() -> None:
    """9 items in parts of 4 and 5, where 4 are dearer than 5, beside 11 in parts of 5 and 6."""
    sizes = [part_sizes(n, np.array([2])) for n in (9, 11)]
    cost = dearest(sizes, lambda size: np.where(size[0] == 4, 50, 0) + size[1])
    assert cost.tolist() == [50 + 6]


def test_rank_puts_the_first_key_first() -> None:
    """Ties of one key are broken by the next."""
    assert rank([np.array([2, 1, 1]), np.array([0, 5, 4])]).tolist() == [2, 1, 0]


@given(data=st.data(), rows=st.integers(1, 300))
@settings(max_examples=60, deadline=None)
def test_the_cheapest_row_is_found_though_few_are_costed_exactly(
    data: st.DataObject, rows: int
) -> None:
    """Bounds lie below the true costs; the choice is the one that true costs would make."""
    random = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    splits = random.integers(1, 30, (rows, 2))
    bound = random.integers(0, 400, rows)
    true = bound + random.integers(0, 60, rows) * random.integers(0, 2, rows)
    work = random.uniform(1, 2, rows)
    other = random.integers(0, 50, rows)
    asked: list[int] = []

    def exact(wanted: Ints) -> dict[str, Ints]:
        asked.extend(wanted.tolist())
        return {"compute": true[wanted]}

    table = Table(("a", "b"), splits, {"compute": bound, "other": other}, work, {})
    row, record = table.choose(100, exact=exact)
    total = true + other
    assert total[row] == total.min()
    assert record["chosen"]["cycles"] == total[row]
    assert record["chosen"]["costs"] == {"compute": int(true[row]), "other": int(other[row])}
    assert [r["cycles"] for r in record["next"]] == np.sort(total)[1:5].tolist()
    wide = total[(np.prod(splits, axis=1) > 85) & (work <= 1.25)]
    assert ("cheapest wide and even" in record) == bool(len(wide))
    if len(wide):
        assert record["cheapest wide and even"]["cycles"] == wide.min()
    assert len(set(asked)) <= rows
