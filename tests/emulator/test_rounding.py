"""Rounding to half: NumPy's conversion is the oracle to the nearest, statistics at random."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ipuc.codelets.rounding import LARGEST, Arithmetic, fitted, random_bits, to_half

VALUES = arrays(np.float32, 7, elements=st.floats(width=32))
#: How many times each value is rounded in the statistical tests.
DRAWS = 1 << 14


def bits(count: int, seed: int = 0) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
    return random_bits(Arithmetic(seed), "x", np.arange(count))


@given(VALUES)
def test_nearest_is_what_numpy_rounds_to(
    values: np.ndarray[tuple[int], np.dtype[np.float32]],
) -> None:
    with np.errstate(over="ignore"):
        wanted = values.astype(np.float16)
    made, lost = to_half(values)
    np.testing.assert_array_equal(made, wanted)
    assert lost == (np.isfinite(values) & np.isinf(wanted)).sum()


@given(VALUES)
def test_at_random_a_value_goes_to_one_of_the_two_halves_beside_it(
    values: np.ndarray[tuple[int], np.dtype[np.float32]],
) -> None:
    made, _ = to_half(values, bits=bits(values.size))
    for value, half in zip(values, made, strict=True):
        if np.isnan(value):
            assert np.isnan(half)
            continue
        with np.errstate(over="ignore"):
            near = np.float16(value)
        side = np.float16(np.inf if near < value else -np.inf)
        assert half in {near, near if near == value else np.nextafter(near, side)}
        assert np.signbit(half) == np.signbit(value)


@pytest.mark.parametrize(
    "value", [1.0003, -1.0003, 0.1, 2047.3, 65503.0, 6.1e-5, -3.3e-6, 2.0**-26, 1e-7, 40000.1]
)
def test_stochastic_rounding_is_unbiased(value: float) -> None:
    """The mean of n draws lies within 5 standard errors of the value (chance 6e-7 each)."""
    exact = np.float32(value)
    made, _ = to_half(np.full(DRAWS, exact), bits=bits(DRAWS, seed=1))
    wide = made.astype(np.float64)
    ends = np.unique(wide)
    assert len(ends) == 2
    low, high = ends
    up = (np.float64(exact) - low) / (high - low)
    error = (high - low) * np.sqrt(up * (1 - up) / DRAWS)
    assert abs(wide.mean() - np.float64(exact)) < 5 * error


def test_what_halves_can_hold_stays() -> None:
    every = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    wide = every.astype(np.float32)
    for seed in range(3):
        made, lost = to_half(wide, bits=bits(wide.size, seed))
        np.testing.assert_array_equal(made, every)
        assert lost == 0


def test_too_large_values_are_counted_and_become_infinite_or_the_largest() -> None:
    values = np.array([65504, 65519, 65520, -1e6, np.inf, np.nan, 3e38], np.float32)
    made, lost = to_half(values)
    assert lost == 3
    np.testing.assert_array_equal(
        made, np.array([65504, 65504, np.inf, -np.inf, np.inf, np.nan, np.inf], np.float16)
    )
    held, lost = to_half(values, saturate=True)
    assert lost == 3
    np.testing.assert_array_equal(
        held,
        np.array([LARGEST, LARGEST, LARGEST, -LARGEST, np.inf, np.nan, LARGEST], np.float16),
    )


def test_random_bits_depend_on_seed_step_name_element_and_number_only() -> None:
    places = np.arange(1000)
    one = random_bits(Arithmetic(3), "x", places)
    others = [
        random_bits(Arithmetic(4), "x", places),
        random_bits(Arithmetic(3, step=1), "x", places),
        random_bits(Arithmetic(3), "y", places),
        random_bits(Arithmetic(3), "x", places, 1),
        random_bits(Arithmetic(3), "x", places + 1000),
    ]
    assert all((one != other).mean() > 0.99 for other in others)
    shuffled = np.random.default_rng(0).permutation(places)
    np.testing.assert_array_equal(random_bits(Arithmetic(3), "x", shuffled), one[shuffled])


def test_every_random_bit_is_fair() -> None:
    """Each of the 64 is set in half of 2^14 words, within 5 standard errors."""
    words = bits(DRAWS, seed=2)
    for bit in range(64):
        share = ((words >> np.uint64(bit)) & np.uint64(1)).mean()
        assert abs(share - 0.5) < 5 * 0.5 / np.sqrt(DRAWS), bit


def test_neighbours_are_rounded_independently() -> None:
    """Correlation of successive draws of one value: within 5 standard errors of none."""
    made, _ = to_half(np.full(DRAWS, 1 + 2.0**-11, np.float32), bits=bits(DRAWS, seed=5))
    up = (made > 1).astype(np.float64) - 0.5
    assert abs((up[1:] * up[:-1]).mean() / 0.25) < 5 / np.sqrt(DRAWS)


def test_constants_are_rounded_to_the_nearest() -> None:
    np.testing.assert_array_equal(
        fitted(np.array([0.1, 1e6]), "float16"), np.array([0.1, np.inf], np.float16)
    )
    assert fitted(np.array([1e6]), "float16", saturate=True)[0] == LARGEST
    whole = np.array([3], np.int32)
    assert fitted(whole, "int32") is whole
