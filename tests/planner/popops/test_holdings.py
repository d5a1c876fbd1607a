"""What tiles hold of a reduction's operand, against a count element by element."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from ipuc.planner.popops import holdings as module
from ipuc.planner.popops.holdings import holdings


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_boxes_cover_every_element_once(data: st.DataObject) -> None:
    shape = tuple(data.draw(st.lists(st.integers(1, 5), min_size=2, max_size=4)))
    kept = data.draw(st.integers(1, len(shape) - 1))
    tiles = data.draw(arrays.arrays(np.int32, shape, elements=st.integers(0, 2)))
    found = holdings(tiles, kept)
    assert found is not None
    seen = np.zeros(shape, int)
    results: set[tuple[int, int]] = set()
    for row in range(len(found.tile)):
        box = tuple(slice(b, b + n) for b, n in zip(found.begin[row], found.rows[row], strict=True))
        for column in range(found.column[row], found.column[row] + found.width[row]):
            where: tuple[Any, ...] = (*np.unravel_index(column, shape[:kept]), *box)
            assert (tiles[where] == found.tile[row]).all()
            seen[where] += 1
            results.add((column, int(found.rank[row])))
    assert (seen == 1).all()
    # Every box makes a partial result of its own of each of its columns, numbered without a gap.
    assert len(results) == found.width.sum() == found.depth.sum()
    for column, depth in enumerate(found.depth):
        assert {rank for c, rank in results if c == column} == set(range(depth))


def test_a_box_is_as_large_as_it_can_be() -> None:
    """Ten rows of 8 columns on two tiles, cut in the middle of a row: three boxes of PopLibs'."""
    tiles = (np.arange(80) >= 44).astype(np.int32).reshape(10, 8).T
    found = holdings(tiles, 1)
    assert found is not None
    boxes = set(
        zip(
            found.tile.tolist(),
            found.column.tolist(),
            found.width.tolist(),
            found.rows[:, 0].tolist(),
            strict=True,
        )
    )
    assert boxes == {(0, 0, 4, 6), (0, 4, 4, 5), (1, 0, 4, 4), (1, 4, 4, 5)}
    assert found.reduces


def test_a_scattered_operand_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_BOXES", 7)
    checkered = (np.arange(16) * 5 % 3).astype(np.int32).reshape(2, 8)
    assert holdings(checkered, 1) is None
    assert holdings(np.zeros((2, 8), np.int32), 1) is not None


def test_rows_apart_are_followed_by_column(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tile's 5 of 24 elements are always in two rows at most, and of different columns."""
    tiles = (np.arange(24) // 5).astype(np.int32).reshape(2, 12).T  # 12 columns of 2 rows
    monkeypatch.setattr(module, "MOST_BOXES", 7)
    found = holdings(tiles, 1)
    assert found is not None
    assert not found.reduces
    assert (found.depth == 2).all()
    seen = np.zeros((12, 2), int)
    for row in range(len(found.tile)):
        columns = slice(found.column[row], found.column[row] + found.width[row])
        assert (tiles[columns, found.rank[row]] == found.tile[row]).all()
        seen[columns, found.rank[row]] += 1
    assert (seen == 1).all()
