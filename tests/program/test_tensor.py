"""Tensor algebra: random chains of views against NumPy on a dense array."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ipuc.errors import ShapeError
from ipuc.program.builder import common_factors
from ipuc.program.tensor import (
    Fill,
    Tensor,
    View,
    axis_offsets,
    boxes,
    coalesce,
    concat,
    fill,
    of_variable,
)
from ipuc.program.variables import Variable

Array = NDArray[Any]
Pair = tuple[Tensor, Array]
EXTENTS = st.sampled_from([1, 2, 3, 4, 6])
FILLED = -1.0
MOST = 2000


def _variable(shape: tuple[int, ...]) -> Pair:
    """A variable whose elements are their own numbers."""
    variable = Variable(0, "v", "float32", shape)
    return of_variable(variable), np.arange(variable.size, dtype=float).reshape(shape)


def _elements(source: View | Fill) -> Array:
    """The contents of a box, by nested sums over the factors."""
    if isinstance(source, Fill):
        return np.full(source.shape, source.value)
    total = np.array(float(source.offset))
    for extent, stride in (factor for axis in source.axes for factor in axis):
        total = np.add.outer(total, np.arange(extent) * float(stride))
    return total.reshape(source.shape)


def _dense(tensor: Tensor) -> Array:
    """The contents of a tensor; each element is given by exactly one box."""
    out = np.full(tensor.shape, np.nan)
    for piece in tensor.pieces:
        place = tuple(slice(b, e) for b, e in zip(piece.begin, piece.end, strict=True))
        assert np.isnan(out[place]).all()
        out[place] = _elements(piece.source)
    assert not np.isnan(out).any()
    return out


def _transpose(draw: st.DrawFn, tensor: Tensor, ref: Array) -> Pair:
    order = draw(st.permutations(range(ref.ndim)))
    return tensor.transpose(order), ref.transpose(order)


def _slice(draw: st.DrawFn, tensor: Tensor, ref: Array) -> Pair:
    axis = draw(st.integers(0, ref.ndim - 1))
    begin = draw(st.integers(0, ref.shape[axis] - 1))
    step = draw(st.sampled_from([1, 1, 2, 3, -1, -2, -3]))
    end = draw(st.integers(begin, ref.shape[axis]) if step > 0 else st.integers(-1, begin))
    cut = slice(begin, None if end == -1 else end, step)
    return tensor.slice(axis, begin, end, step), ref[(slice(None),) * axis + (cut,)]


def _concat(draw: st.DrawFn, tensor: Tensor, ref: Array) -> Pair:
    axis = draw(st.integers(0, ref.ndim - 1))
    shape = (*ref.shape[:axis], 2, *ref.shape[axis + 1 :])
    other = (fill(FILLED, shape, "float32"), np.full(shape, FILLED))
    parts = draw(st.permutations([(tensor, ref), other, (tensor, ref)]))[: draw(st.integers(1, 3))]
    return concat([t for t, _ in parts], axis), np.concatenate([r for _, r in parts], axis)


def _expand(draw: st.DrawFn, tensor: Tensor, ref: Array) -> Pair:
    shape = tuple(3 if n == 1 and draw(st.booleans()) else n for n in ref.shape)
    shape = (2, *shape) if draw(st.booleans()) else shape
    return tensor.expand(shape), np.broadcast_to(ref, shape)


def _reshape(draw: st.DrawFn, tensor: Tensor, ref: Array) -> Pair:
    shape = draw(_factored(ref.size))
    made = tensor.reshape(shape)
    return (tensor, ref) if made is None else (made, ref.reshape(shape))


@st.composite
def _factored(draw: st.DrawFn, size: int) -> tuple[int, ...]:
    """A random shape of this many elements."""
    if size == 0:
        return draw(st.sampled_from([(0,), (0, 3), (2, 0, 1)]))
    shape = [1] * draw(st.integers(1, 4))
    for prime in (2, 3, 5, 7, 11, 13, 17, 19, 23):
        while size % prime == 0:
            shape[draw(st.integers(0, len(shape) - 1))] *= prime
            size //= prime
    return (*shape, size) if size > 1 else tuple(shape)


@st.composite
def views(draw: st.DrawFn, shape: tuple[int, ...] | None = None) -> Pair:
    """A variable seen through up to six steps, and what NumPy makes of it."""
    if shape is None:
        shape = tuple(draw(st.lists(EXTENTS, max_size=4)))
    tensor, ref = _variable(shape)
    for change in draw(
        st.lists(st.sampled_from([_transpose, _slice, _concat, _expand, _reshape]), max_size=6)
    ):
        if (ref.ndim == 0 or ref.size == 0) and change in (_transpose, _slice, _concat):
            continue
        made = change(draw, tensor, ref)
        if made[1].size <= MOST:
            tensor, ref = made
    return tensor, ref


@settings(max_examples=400, deadline=None)
@given(views())
def test_chains_of_views_are_numpys(pair: Pair) -> None:
    tensor, ref = pair
    assert tensor.shape == ref.shape
    assert tensor.size == ref.size
    np.testing.assert_array_equal(_dense(tensor), ref)


@settings(max_examples=200, deadline=None)
@given(views(), st.data())
def test_boxes_tile_the_shape(pair: Pair, data: st.DataObject) -> None:
    tensor, ref = pair
    order = data.draw(st.permutations(range(ref.ndim)))
    back = np.argsort(np.array(order, int))
    # another tensor of the same shape, with cuts of its own
    other = tensor.transpose(order).transpose([int(i) for i in back])
    if ref.ndim and ref.size and data.draw(st.booleans()):
        middle = data.draw(st.integers(0, ref.shape[0]))
        other = concat([other.slice(0, 0, middle), other.slice(0, middle, ref.shape[0])], 0)
    count = np.zeros(ref.shape, int)
    for begin, shape, sources in boxes([tensor, other]):
        place = tuple(slice(b, b + n) for b, n in zip(begin, shape, strict=True))
        count[place] += 1
        for source in sources:
            assert source.shape == shape
            np.testing.assert_array_equal(_elements(source), ref[place])
    assert (count == 1).all()


@settings(max_examples=200, deadline=None)
@given(views())
def test_common_factors_walk_every_source_in_order(pair: Pair) -> None:
    tensor, ref = pair
    straight, _ = _variable(ref.shape)
    for _, shape, sources in boxes([straight, tensor]):
        factors = common_factors(sources)
        assert math.prod(n for n, _ in factors) == math.prod(shape)
        for number, source in enumerate(sources):
            base = source.offset if isinstance(source, View) else 0
            total = np.array(base)
            for extent, strides in factors:
                total = np.add.outer(total, np.arange(extent) * strides[number])
            if isinstance(source, View):
                np.testing.assert_array_equal(total.reshape(-1), _elements(source).reshape(-1))
            else:
                assert (total == 0).all()
        merged = [f for f in factors if f[0] > 1]
        assert not any(
            all(o == inner[0] * i for o, i in zip(outer[1], inner[1], strict=True))
            for outer, inner in itertools.pairwise(merged)
        )


@settings(max_examples=100, deadline=None)
@given(views())
def test_a_reshape_and_back_is_free(pair: Pair) -> None:
    tensor, ref = pair
    for piece in tensor.pieces:
        # one box is one run of factors, so merging its axes and parting them again is a view
        alone = Tensor(piece.source.shape, "float32", (type(piece)((0,) * ref.ndim, piece.source),))
        merged = alone.reshape((alone.size,))
        assert merged is not None
        again = merged.reshape(alone.shape)
        assert again is not None
        np.testing.assert_array_equal(_dense(again), _dense(alone))


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(-20, 20)), max_size=4))
def test_coalesced_factors_are_the_same_axis(factors: list[tuple[int, int]]) -> None:
    axis = tuple(factors)
    total = np.array(0)
    for extent, stride in axis:
        total = np.add.outer(total, np.arange(extent) * stride)
    merged = coalesce(axis)
    size = math.prod(n for n, _ in merged)
    np.testing.assert_array_equal(axis_offsets(merged, np.arange(size)), total.reshape(-1))
    np.testing.assert_array_equal(axis_offsets(axis, np.arange(size)), total.reshape(-1))
    assert len(merged) <= len(axis)


def test_views_that_are_one_strided_view() -> None:
    tensor, ref = _variable((4, 6))
    view = tensor.transpose((1, 0)).slice(0, 5, -1, -2).view()
    assert view == View(0, 5, (((3, -2),), ((4, 6),)))
    np.testing.assert_array_equal(_elements(view), ref.T[::-2])
    assert concat([tensor, tensor], 0).view() is None
    assert fill(1.0, (3,), "float32").view() is None


def test_a_reshape_that_no_view_can_say() -> None:
    tensor, _ = _variable((2, 3))
    assert tensor.transpose((1, 0)).reshape((6,)) is not None  # two factors in one axis
    assert concat([tensor, tensor], 1).reshape((12,)) is None  # a box would be two runs


def test_shapes_that_do_not_broadcast_are_refused() -> None:
    tensor, _ = _variable((2, 3))
    for shape in ((2, 4), (3,), (3, 3)):
        with pytest.raises(ShapeError, match="does not broadcast"):
            tensor.expand(shape)


def test_element_types() -> None:
    tensor, _ = _variable((2, 3))
    assert tensor.itemsize == 4
    assert tensor.as_dtype("int32").dtype == "int32"
