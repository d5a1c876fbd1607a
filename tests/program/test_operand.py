"""Reading and writing whole families against loops over vertices and elements."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ipuc.program.family import Access, IndexMap, separable
from ipuc.program.operand import destination, gather, gather_grid, scatter

Array = NDArray[Any]
regular: st.SearchStrategy[list[int]] = st.builds(
    lambda n, step: [step * i for i in range(n)], st.integers(1, 4), st.integers(-9, 9)
)
irregular: st.SearchStrategy[list[int]] = st.lists(st.integers(-12, 12), min_size=1, max_size=4)


@st.composite
def accesses(draw: st.DrawFn, *, zero: bool = False) -> tuple[Access, int]:
    """A field of a family on a variable that is just large enough, and its size."""
    tables: list[list[int]] = draw(st.lists(st.one_of(regular, irregular), max_size=3))
    window = draw(
        st.lists(st.tuples(st.integers(0 if zero else 1, 3), st.integers(-8, 8)), max_size=3)
    )
    shape, strides = tuple(n for n, _ in window), tuple(s for _, s in window)
    offset = separable(0, *tables)
    least, most = Access(0, offset, tuple(max(n, 1) for n in shape), strides).extent()
    low, high = offset.bounds()
    base = -(low + least) + draw(st.integers(0, 2))
    size = base + high + most + 1 + draw(st.integers(0, 2))
    explicit: bool = draw(st.booleans())
    if tables and explicit:
        offset = IndexMap(base - 5, explicit=np.ascontiguousarray(offset.dense() + 5))
    else:
        offset = separable(base, *tables)
    return Access(0, offset, shape, strides), size


def _places(access: Access) -> Array:
    """Element of every [*grid, *window] position."""
    out = np.empty((*access.offset.grid, *access.shape), np.int64)
    offsets = access.offset.dense()
    for point in np.ndindex(*access.offset.grid):
        for index in np.ndindex(*access.shape):
            steps = sum(i * s for i, s in zip(index, access.strides, strict=True))
            out[(*point, *index)] = offsets[point] + steps
    return out


@settings(max_examples=300, deadline=None)
@given(accesses(zero=True))
def test_gather_is_a_loop_over_elements(made: tuple[Access, int]) -> None:
    access, size = made
    flat = np.random.default_rng(0).normal(size=size)
    want = flat[_places(access)]
    np.testing.assert_array_equal(gather_grid(access, flat), want, strict=True)
    if access.offset.explicit is None:
        np.testing.assert_array_equal(gather(access, flat), want, strict=True)
    else:
        np.testing.assert_array_equal(
            gather(access, flat), want.reshape((access.offset.explicit.size, *access.shape))
        )


@settings(max_examples=300, deadline=None)
@given(accesses(zero=True), st.booleans())
def test_scatter_is_a_loop_over_elements(made: tuple[Access, int], broadcast: bool) -> None:
    access, size = made
    places = _places(access)
    values = np.random.default_rng(1).normal(size=places.shape)
    if broadcast:
        window = (1,) * len(access.shape)
        values = np.random.default_rng(1).normal(size=(*access.offset.grid, *window))
    flat = np.zeros(size)
    scatter(access, flat, values)
    full = np.broadcast_to(values, places.shape)
    touched = np.zeros(size, bool)
    touched[places] = True
    assert (flat[~touched] == 0).all()
    for element in np.flatnonzero(touched):
        # where positions share an element, one of their values is there
        assert flat[element] in full[places == element]


@settings(deadline=None)
@given(accesses())
def test_an_axis_that_shares_its_window_has_stride_0(made: tuple[Access, int]) -> None:
    access, size = made
    flat = np.arange(size)
    if access.offset.explicit is not None:
        return
    got = gather(access, flat)
    for axis, shared in enumerate(access.offset.shared_axes()):
        if shared and access.offset.grid[axis] > 1 and np.shares_memory(got, flat):
            assert got.strides[axis] == 0


def test_regular_tables_are_views() -> None:
    flat = np.arange(40)
    access = Access(0, separable(3, [0, 10, 20], [4, 2, 0]), (3,), (1,))
    assert np.shares_memory(gather(access, flat), flat)
    assert not np.shares_memory(gather(Access(0, separable(0, [0, 1, 3]), (3,), (1,)), flat), flat)


def test_the_first_of_those_that_share_an_axis_stays() -> None:
    flat = np.zeros(6, int)
    scatter(
        Access(0, separable(0, [0, 0], [0, 3]), (3,), (1,)), flat, np.arange(1, 13).reshape(2, 2, 3)
    )
    assert flat.tolist() == [1, 2, 3, 4, 5, 6]


@settings(max_examples=200, deadline=None)
@given(accesses())
def test_a_destination_is_the_field_itself(made: tuple[Access, int]) -> None:
    """Where there is one, filling it writes element by element what its positions say."""
    access, size = made
    flat = np.arange(size)
    place = destination(access, flat)
    if place is not None:
        np.testing.assert_array_equal(place, _places(access), strict=True)
        assert np.may_share_memory(place, flat)


def test_an_axis_of_one_element_may_have_any_stride() -> None:
    flat = np.zeros(12)
    tables = separable(0, [0, 6])
    assert destination(Access(0, tables, (1, 3), (0, 1)), flat) is not None
    assert destination(Access(0, tables, (2, 3), (0, 1)), flat) is None
