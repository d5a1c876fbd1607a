"""Comparison of arrays; the oracle is NumPy's own comparison, element by element."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ipuc.check.compare import compare

FLOATS = hnp.arrays(
    np.float32,
    hnp.array_shapes(max_dims=3, max_side=4),
    elements=st.sampled_from([0.0, -0.0, 1.0, -2.5, 1e-6, np.nan, np.inf, -np.inf]),
)


@given(FLOATS)
def test_equal_arrays_agree_wherever_nan_and_infinity_stand(array: np.ndarray) -> None:
    found = compare(array, array.copy(), 0.0)
    assert (found.max_abs, found.max_rel, found.ok) == (0.0, 0.0, True)


@given(FLOATS, st.data())
def test_a_changed_element_is_found_and_it_is_the_first(
    array: np.ndarray, data: st.DataObject
) -> None:
    changed = array.copy()
    at = data.draw(st.integers(0, array.size - 1))
    changed.flat[at] = 7.0
    found = compare(changed, array, 1e-4)
    expected = [
        i
        for i in range(array.size)
        if not np.array_equal(changed.flat[i], array.flat[i], equal_nan=True)
    ]
    assert found.first_wrong == expected[0] == at
    assert not found.ok


def test_difference_is_relative_to_the_largest_value_of_the_reference() -> None:
    wanted = np.array([1000.0, 0.0], np.float32)
    found = compare(np.array([1000.0, 0.05], np.float32), wanted, 1e-4)
    assert found.max_abs == pytest.approx(0.05)
    assert found.max_rel == pytest.approx(5e-5)
    assert found.ok
    assert compare(np.array([1000.0, 0.2], np.float32), wanted, 1e-4).first_wrong == 1


def test_nothing_but_zero_agrees_with_zero() -> None:
    zero = np.zeros(3, np.float32)
    assert compare(zero, zero, 1e-4).ok
    found = compare(np.array([0, 1e-30, 0], np.float32), zero, 1e-4)
    assert found.first_wrong == 1
    assert found.max_rel == np.inf


def test_another_shape_is_wrong_from_the_first_element() -> None:
    assert compare(np.zeros((2, 1)), np.zeros((1, 2)), 1.0).first_wrong == 0


def test_integers_and_bools_are_compared_exactly_up_to_the_tolerance() -> None:
    numbers = np.array([2**31 - 1, -(2**31)], np.int64)
    assert compare(numbers.astype(np.int32), numbers, 0.0).ok
    assert compare(np.array([True, False]), np.array([True, True]), 1e-4).first_wrong == 1


def test_empty_arrays_agree() -> None:
    assert compare(np.zeros((0, 3)), np.zeros((0, 3)), 0.0).ok
