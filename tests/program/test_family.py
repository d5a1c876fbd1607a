"""Index maps, windows and families, against plain loops."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ipuc.codelets.binary import BinaryOp
from ipuc.errors import ProgramError
from ipuc.program.family import Access, IndexMap, Origin, VertexFamily, separable

Array = NDArray[Any]


@st.composite
def index_maps(draw: st.DrawFn) -> tuple[IndexMap, Array]:
    """A map, and its numbers by nested sums."""
    tables = draw(
        st.lists(st.lists(st.integers(-30, 30), min_size=1, max_size=4), min_size=0, max_size=3)
    )
    base = draw(st.integers(-9, 9))
    dense = np.array(base)
    for table in tables:
        dense = np.add.outer(dense, np.array(table))
    if draw(st.booleans()):
        return IndexMap(base, explicit=dense - base), dense
    return separable(base, *tables), dense


@settings(deadline=None)
@given(index_maps(), st.data())
def test_an_index_map_is_a_sum_of_tables(pair: tuple[IndexMap, Array], data: Any) -> None:
    index, dense = pair
    assert index.grid == dense.shape
    np.testing.assert_array_equal(index.dense(), dense)
    np.testing.assert_array_equal(index.at(np.arange(dense.size)), dense.reshape(-1))
    assert index.bounds() == (dense.min(), dense.max())
    assert index.shared_axes() == tuple(
        bool((dense == dense.take([0], axis)).all()) for axis in range(dense.ndim)
    )
    if dense.ndim:
        axis = data.draw(st.integers(0, dense.ndim - 1))
        place = data.draw(st.integers(0, dense.shape[axis] - 1))
        np.testing.assert_array_equal(index.slice(axis, place).dense(), dense.take([place], axis))


windows = st.lists(st.tuples(st.integers(1, 4), st.integers(-12, 12)), max_size=4)


@settings(max_examples=300, deadline=None)
@given(windows)
def test_runs_are_the_elements_of_the_window(window: list[tuple[int, int]]) -> None:
    shape, strides = tuple(n for n, _ in window), tuple(s for _, s in window)
    access = Access(0, IndexMap(0), shape, strides)
    want = {sum(i * s for i, s in zip(index, strides, strict=True)) for index in np.ndindex(*shape)}
    runs = access.runs()
    assert runs.shape[1] == 2
    got = {int(begin) + i for begin, length in runs for i in range(length)}
    assert got == want
    assert access.extent() == (min(want), max(want))


def test_runs_that_meet_are_one() -> None:
    def runs(shape: tuple[int, ...], strides: tuple[int, ...]) -> Any:
        return Access(0, IndexMap(0), shape, strides).runs().tolist()

    assert runs((2, 3, 4), (12, 4, 1)) == [[0, 24]]
    assert runs((4, 3), (1, 4)) == [[0, 12]]
    assert runs((3, 2), (5, 1)) == [[0, 2], [5, 2], [10, 2]]
    assert runs((3, 2), (-5, -1)) == [[-11, 2], [-6, 2], [-1, 2]]
    assert runs((7, 3), (0, 1)) == [[0, 3]]
    assert runs((), ()) == [[0, 1]]
    assert runs((3, 0), (1, 1)) == []


def _family(**changes: Any) -> VertexFamily:
    offset = separable(0, [0, 4, 8])
    access = Access(0, offset, (4,), (1,))
    given = {
        "codelet": BinaryOp("add"),
        "grid": (3,),
        "tile": separable(0, [0, 1, 2]),
        "fields": dict.fromkeys(("a", "b", "out"), access),
        "origins": (Origin("layer"),),
    }
    return VertexFamily(**{**given, **changes})


def test_a_family_of_one_grid() -> None:
    family = _family()
    assert family.count == 3
    assert family.layer == "layer"
    assert family.windows() == {"a": (4,), "b": (4,), "out": (4,)}
    last = family.slice(0, 2)
    assert last.grid == (1,)
    assert last.tile.dense().tolist() == [2]
    assert last.fields["out"].offset.dense().tolist() == [8]


def test_a_family_off_the_grid_is_refused() -> None:
    access = _family().fields["a"]
    with pytest.raises(ProgramError, match=r"fields \['a'\] are connected") as caught:
        _family(fields={"a": access})
    assert caught.value.where == "codelet BinaryOp, layer"
    other = Access(0, separable(0, [0, 4]), (4,), (1,))
    with pytest.raises(ProgramError, match=r'field "out" has grid \(2,\), the family \(3,\)'):
        _family(fields={"a": access, "b": access, "out": other})
    with pytest.raises(ProgramError, match=r"tiles have grid \(2,\)"):
        _family(tile=separable(0, [0, 1]))
    with pytest.raises(ProgramError, match=r"a family on a grid \(3, 0\) has no vertex"):
        _family(grid=(3, 0))
