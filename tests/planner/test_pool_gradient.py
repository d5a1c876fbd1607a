"""Gradients of poolings against window by window sums in float64, and finite differences."""

from __future__ import annotations

import numpy as np
import pool_gradients as pools
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pool_gradients import Case

from ipuc.planner.window import Slide

SEEDS = st.integers(0, 2**31)
QUICK = settings(max_examples=60, deadline=None)


@given(case=pools.cases(), seed=SEEDS, first=st.booleans())
@QUICK
def test_max_pool(case: Case, seed: int, first: bool) -> None:
    """Whole multiples of a quarter: sums are exact, so the result is."""
    assume(pools.seen(case))
    x, dy = pools.values(case, seed)
    made = pools.lowered(case, x, dy, "max", first=first)
    np.testing.assert_array_equal(made, pools.by_hand(case, x, dy, "max", first=first))


@given(case=pools.cases(), seed=SEEDS)
@QUICK
def test_average_pool(case: Case, seed: int) -> None:
    """Sums of at most 64 quotients in float32: within 64 roundings of 2^-24 of their size."""
    _, dy = pools.values(case, seed)
    made = pools.lowered(case, dy, dy, "mean")
    wanted = pools.by_hand(case, dy, dy, "mean")
    np.testing.assert_allclose(made, wanted, rtol=0, atol=64 * 2.0**-24 * 16)


@given(case=pools.cases(), seed=SEEDS, kind=st.sampled_from(["max", "mean"]))
@settings(max_examples=25, deadline=None)
def test_finite_differences(case: Case, seed: int, kind: str) -> None:
    """The directional derivative of sum(y * dy), where no maximum changes place.

    All values differ by more than the step, so a maximum is linear there; a mean is linear
    everywhere. The quotient is then exact but for float64, the gradient but for float32.
    """
    assume(pools.seen(case))
    draw = np.random.default_rng(seed)
    shape = (*case.lead, *case.field)
    x = draw.permutation(pools.size(case)).reshape(shape).astype(np.float32)
    dy = draw.normal(size=(*case.lead, *case.out)).astype(np.float32)
    way = draw.normal(size=shape)
    step = 0.1 / np.abs(way).max()
    high, low = (pools.pooled(case, x + sign * step * way, kind) for sign in (1, -1))
    slope = float(((high - low) * dy).sum() / (2 * step))
    made = pools.lowered(case, x, dy, kind).astype(float)
    scale = float(np.abs(made * way).sum()) + 1
    assert abs(float((made * way).sum()) - slope) < 1e-5 * scale


@given(case=pools.cases(), seed=SEEDS, kind=st.sampled_from(["max", "mean"]))
@settings(max_examples=20, deadline=None)
def test_private_tile_memories_agree(case: Case, seed: int, kind: str) -> None:
    assume(pools.seen(case))
    x, dy = pools.values(case, seed)
    pools.lowered(case, x, dy, kind, check_strict=True)


def test_ties_go_to_the_first() -> None:
    """All elements are equal: the first of each window that exists has the whole gradient."""
    slide = Slide(4, 3, 3, 2, 1, 1)
    case = Case((slide, slide), (1, 1), (None, None))
    x, dy = np.zeros((1, 1, 4, 4), np.float32), np.ones((1, 1, 3, 3), np.float32)
    made = pools.lowered(case, x, dy, "max")
    side = np.array([1, 1, 0, 1])
    np.testing.assert_array_equal(made[0, 0], np.outer(side, side))
    every = pools.lowered(case, x, dy, "max", first=False)
    side = np.array([1, 2, 1, 2])
    np.testing.assert_array_equal(every[0, 0], np.outer(side, side))


def test_not_a_number_takes_the_gradient() -> None:
    slide = Slide(3, 1, 3)
    case = Case((slide,), (1, 1), (None,))
    x = np.array([[[1.0, np.nan, 2.0]]], np.float32)
    made = pools.lowered(case, x, np.ones((1, 1, 1), np.float32), "max")
    np.testing.assert_array_equal(made, [[[0, 1, 0]]])


def test_halves() -> None:
    """Quarters and whole numbers are halves; sums of nine of them are too."""
    slide = Slide(9, 4, 3, 2)
    case = Case((slide, slide), (2, 9), (None, None), target="gc200,tiles=64")
    x, dy = pools.values(case, 3, "float16")
    made = pools.lowered(case, x, dy, "max", check_strict=True)
    assert made.dtype == np.float16
    np.testing.assert_array_equal(made, pools.by_hand(case, x, dy, "max"))
    mean = pools.lowered(case, x, dy, "mean", check_strict=True)
    # one rounding of 2^-11 of values up to 2 * 4 / 9
    np.testing.assert_allclose(mean, pools.by_hand(case, x, dy, "mean"), rtol=0, atol=2.0**-11)


def test_a_dilated_window_that_hangs_over_is_not_the_whole_field() -> None:
    """As many elements as the field has, every second of which the window sees."""
    case = Case((Slide(4, 1, 4, 1, 2),), (1, 2), (None,))
    x, dy = pools.values(case, 5)
    for kind in ("max", "mean"):
        made = pools.lowered(case, x, dy, kind, check_strict=True)
        np.testing.assert_array_equal(made, pools.by_hand(case, x, dy, kind))


def test_a_window_of_the_whole_field_spreads() -> None:
    case = Case((Slide(3, 1, 3), Slide(4, 1, 4)), (2, 3), (None, None))
    _, dy = pools.values(case, 0)
    made = pools.lowered(case, dy, dy, "mean", check_strict=True)
    # one rounding of the quotient
    np.testing.assert_allclose(made, pools.by_hand(case, dy, dy, "mean"), rtol=2.0**-23)
