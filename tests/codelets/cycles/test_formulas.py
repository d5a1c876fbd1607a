"""Vertex formulas against numbers worked out by hand from poplin's and popnn's source.

Each figure was computed on paper for one tile; the sums are written out beside it.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from ipuc.codelets.cycles import amp, mac, move
from ipuc.codelets.cycles.amp import Block
from ipuc.codelets.cycles.pool import all_meet, forward_meets, gradient_meets, pooling
from ipuc.target import CATALOGUE

GC2 = CATALOGUE["gc2"]


def block(**sizes: Any) -> Block:
    plain = Block(1, 1, 1, 1, 1, 1, 1, 1, (1, 1))
    return dataclasses.replace(plain, **sizes)


def test_one_by_one_in_float32() -> None:
    # 10 outputs a worker: 46 + 8 * 7 = 102, zeroing 2 + 4 * 10 more; the last starts 14 late.
    adding, zeroing = 6 * 102 + 14, 6 * 144 + 14
    want = 50 + 13 + (15 + 19 + 6 + 32 + adding) + 11 + (18 + 7 + 32 + zeroing)
    made = block(width=60, outputs=60, in_groups=2, in_group=8, out_group=8)
    assert amp.one_by_one(GC2, made, 4, 4).total == want == 1707


def test_one_by_one_in_half_with_float32_sums() -> None:
    # 10 outputs a worker: 38 + 4 * 7 - 7 = 59, one less where sums begin.
    want = 50 + 6 * 7 + 13 + 11 + 18 + 7 + 32 + (6 * 58 + 14)
    made = block(width=60, outputs=60, in_group=16, out_group=8)
    assert amp.one_by_one(GC2, made, 2, 4).total == want


def test_nx1_in_float32() -> None:
    # One output a worker: 17 + 27; 4 kernel elements; 8 channels in, so nothing is fused.
    position = 6 * 44 + 9
    core = 2 * (14 + 2 * (12 + 32 + 15 + 3)) + 4 * position
    zero = 6 * (4 + 5)
    want = 109 + 54 + 54 + 18 + 1 + 16 + 14 + 14 + core + zero
    made = block(rows=6, outputs=6, in_group=8, out_group=8, kernel=(2, 2))
    assert amp.nx1(GC2, made, 4, 4).total == want


def test_units_follow_the_types() -> None:
    mk2 = CATALOGUE["gc200"]
    assert [amp.conv_units(mk2, *sizes) for sizes in ((2, 2), (2, 4), (4, 4))] == [16, 8, 16]
    assert [amp.weights_per_unit(size) for size in (2, 4)] == [16, 8]


@pytest.mark.parametrize(
    ("size", "itemsize", "partial", "cycles"),
    [(16, 2, 4, 6 + 4), (16, 4, 4, 7 + 8), (16, 2, 2, 10 + 4), (6, 2, 4, 13), (5, 2, 4, 17)],
)
def test_dot_products(size: int, itemsize: int, partial: int, cycles: int) -> None:
    assert mac.dot(size, itemsize, partial) == cycles


def test_vertical_mac() -> None:
    # A worker has one output of two kernel rows: 19 + 2 * (7 + 5 + 3 + 2 * 2).
    inner = 6 * 57
    want = 101 + 4 + 12 + 32 + 24 + inner + 9 + 19
    made = block(rows=6, outputs=6, kernel=(2, 3))
    assert mac.vertical(GC2, made, 4, 4) == want == 543


def test_slic() -> None:
    # A worker has a row of 10: 17 + 10 + 1 + 3 + 2 * 19 where sums begin, else one less.
    begin, add = 6 * 69, 6 * 68
    want = 28 + 2 * 15 + 6 + 1 + 3 * (34 + 20) + 2 * 6 + 1 + 2 * (begin + 2 * add)
    made = block(rows=6, width=10, outputs=60, groups=2, in_group=4, out_group=4, kernel=(3, 3))
    assert mac.slic(GC2, made, in_group=4, bundle=1, stride=1, partial=4) == want == 2700


def test_outer_product() -> None:
    half = block(width=60, groups=3, out_group=4)
    assert mac.outer_product(GC2, half, 2) == 6 * (25 + 3 * (10 + 10 * 20)) == 3930
    wide = block(width=60, groups=3, out_group=8)
    assert mac.outer_product(GC2, wide, 4) == 6 * (25 + 3 * (11 + 10 * 7)) == 1608


def test_reductions() -> None:
    # 34 blocks of 4 are 6 rounds; 32 and a rest of 2 are 5 rounds and code for the rest.
    assert move.reduce_add(GC2, 136, 10, partial=4, out=4) == 6 * (32 + 6 * 37)
    assert move.reduce_add(GC2, 136, 10, partial=4, out=2) == 6 * (32 + 6 * 36)
    assert move.reduce_add(GC2, 130, 10, partial=4, out=2) == 6 * (32 + 33 + 5 * 36)
    assert move.reduce_add(GC2, 4, 14, partial=4, out=2) == 480


def test_what_surrounds_a_vertex() -> None:
    assert move.cast(GC2, 100, 4, 2) == 6 * (9 + 26)
    assert move.scaled_add(GC2, 1000, 2) == 57 + 6 * (25 + 3 * 42)
    assert move.dynamic_slice(GC2, 1200, 4, 2) == 25 + 6 * (63 + 2 * 12)


def test_pooling() -> None:
    # A row of 5 for each worker, 2 groups of 2 vectors, 9 elements: 15 + 103 + 8 * 103, and the
    # second group's pointers 9 * 4; 10 vectors to clear in each group.
    sizes: dict[str, Any] = {"batch": 1, "sizes": (6, 5), "groups": 2, "vectors": 2}
    meets = [all_meet(6, 3), all_meet(5, 3)]
    each = 23 + 2 * (2 + 2 * (3 + 4 + 3 * 4)) + 4
    assert pooling(GC2, "max", meets=meets, **sizes) == 13 + 6 * (41 + 28 + 15 + 9 * each)
    each = 23 + 2 * (2 + 2 * (3 + 7 + 5 * 4)) + 6
    assert pooling(GC2, "max gradient", meets=meets, **sizes) == 13 + 6 * (51 + 28 + 15 + 9 * each)


def test_pooling_at_borders() -> None:
    # One row of 6, the first place padding: workers have an output each, the first meets 2 of 3.
    meets = [forward_meets(6, 3, 1, 1, (1, 0))]
    sizes: dict[str, Any] = {"batch": 1, "sizes": (6,), "groups": 1, "vectors": 1}
    assert pooling(GC2, "sum", meets=meets, **sizes) == 13 + 6 * (42 + 5 + 15 + 3 * 33)
    assert [(int(a), int(b), step) for a, b, step in meets[0]] == [(1, 6, 1), (0, 6, 1), (0, 6, 1)]


def test_a_strided_gradient_skips() -> None:
    # Stride 2, 3 elements: of 6 places from the second window element on, each element meets 3.
    meets = gradient_meets(6, 3, 2, 1, 1, 4)
    assert [(int(a), int(b), step) for a, b, step in meets] == [(1, 6, 2), (0, 6, 2), (1, 6, 2)]
    sizes: dict[str, Any] = {"batch": 1, "sizes": (6,), "groups": 1, "vectors": 1}
    made = pooling(GC2, "max gradient", meets=[meets], **sizes)
    assert made == 13 + 6 * (51 + 5 + 15 + 2 * 35)


def test_columns_are_many_numbers() -> None:
    rows = np.array([1, 5, 7, 300])
    made = block(in_group=16, out_group=8, kernel=(3, 3))
    column = amp.nx1(
        GC2, dataclasses.replace(made, rows=rows, width=9, outputs=rows * 9), 2, 4
    ).total
    alone = [
        amp.nx1(
            GC2, dataclasses.replace(made, rows=int(n), width=9, outputs=int(n) * 9), 2, 4
        ).total
        for n in rows
    ]
    np.testing.assert_array_equal(column, alone)
