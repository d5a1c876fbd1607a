"""Where a field's first elements lie; NumPy's own strided views are the witness."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.lib.stride_tricks import as_strided

from ipuc.profile.tile_part import FieldPart

windows = st.lists(st.tuples(st.integers(1, 4), st.integers(0, 5)), max_size=4)


@given(windows, st.integers(0, 9), st.integers(0, 12))
def test_first_elements_of_a_window(window: list[tuple[int, int]], offset: int, count: int) -> None:
    shape, strides = tuple(n for n, _ in window), tuple(s for _, s in window)
    field = FieldPart("x", True, False, 0, offset, shape, strides)
    memory = np.arange(200)[offset:]
    view = as_strided(memory, shape, tuple(s * memory.itemsize for s in strides))
    wanted = view.reshape(-1)[:count] if shape else view.reshape(-1)
    np.testing.assert_array_equal(field.first(count), wanted)


def test_a_window_of_nothing() -> None:
    assert FieldPart("x", True, False, 0, 3, (0, 2), (1, 1)).first(4).size == 0
