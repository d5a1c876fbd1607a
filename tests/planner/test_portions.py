"""Boxes of work cut over tiles and vertices."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ipuc.planner.portions import FINE_ELEMENTS, portions, row_major, worker_parts
from ipuc.program.family import Access


@given(
    extents=st.lists(st.integers(1, 25), min_size=1, max_size=3),
    data=st.data(),
    granularity=st.sampled_from(["tile", "worker", "fine"]),
)
@settings(max_examples=150, deadline=None)
def test_every_element_has_one_vertex(
    extents: list[int], data: st.DataObject, granularity: Any
) -> None:
    """Whatever is cut: each element of the box lies in exactly one window, on one tile's share."""
    parts = [data.draw(st.integers(1, n)) for n in extents]
    grains = [data.draw(st.sampled_from([1, 1, 2, 4])) for _ in extents]
    divisible = data.draw(st.sampled_from([None, [0], []]))
    assume(math.prod(extents) < 3000)
    strides = row_major(extents)
    covered = np.zeros(math.prod(extents), int)
    tiles = np.full(math.prod(extents), -1)
    vertices_of = np.zeros(math.prod(parts), int)
    for portion in portions(tuple(extents), parts, grains, granularity, 6, divisible):
        access, numbers = portion.access(0, 0, strides), portion.numbers(row_major(parts))
        points = np.arange(math.prod(access.offset.grid))
        places = elements(access, points)
        np.add.at(covered, places.ravel(), 1)
        tiles[places] = numbers.at(points)[:, None]
        np.add.at(vertices_of, numbers.at(points), 1)
        if granularity == "fine" and (divisible is None or len(extents) - 1 in divisible):
            assert places.shape[1] <= FINE_ELEMENTS
    assert (covered == 1).all()
    # the shares of the tiles do not depend on the granularity
    assert (tiles == tiles_of(extents, parts, grains)).all()
    if granularity == "tile":
        assert vertices_of.max() == 1
    if granularity == "worker":
        assert vertices_of.max() <= 6


def elements(access: Access, points: Any) -> Any:
    """Element numbers of some vertices' windows: [points, window]."""
    window = np.zeros(1, int)
    for n, stride in zip(access.shape, access.strides, strict=True):
        window = (window[:, None] + np.arange(n) * stride).ravel()
    return access.offset.at(points)[:, None] + window


def tiles_of(extents: list[int], parts: list[int], grains: list[int]) -> Any:
    """The tile of every element, by the split rule written as a loop."""
    numbers = np.zeros(extents, int)
    for dim, (n, p, grain) in enumerate(zip(extents, parts, grains, strict=True)):
        count = -(-n // grain)
        part = np.zeros(n, int)
        for i in range(p):
            part[i * count // p * grain : (i + 1) * count // p * grain] = i
        shape = [1] * len(extents)
        shape[dim] = n
        numbers = numbers * p + part.reshape(shape)
    return numbers.ravel()


@pytest.mark.parametrize(
    ("items", "sizes"), [(1, [1]), (6, [1] * 6), (7, [1, 2, 2, 2]), (13, [2, 2, 3, 3, 3])]
)
def test_worker_parts(items: int, sizes: list[int]) -> None:
    """By hand: n items become ceil(n / m) vertices of at most m = ceil(n / 6)."""
    assert sorted(part.size for part in worker_parts(items, 6) for _ in part.index) == sizes
