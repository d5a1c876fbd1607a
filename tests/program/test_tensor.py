"""Tensor algebra: random chains of views against NumPy on a dense array."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tensor_views import Pair, dense, elements, variable, views

from ipuc.errors import ShapeError
from ipuc.program.builder import common_factors
from ipuc.program.tensor import Tensor, View, axis_offsets, boxes, coalesce, concat, fill


@settings(max_examples=400, deadline=None)
@given(views())
def test_chains_of_views_are_numpys(pair: Pair) -> None:
    tensor, ref = pair
    assert tensor.shape == ref.shape
    assert tensor.size == ref.size
    np.testing.assert_array_equal(dense(tensor), ref)


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
            np.testing.assert_array_equal(elements(source), ref[place])
    assert (count == 1).all()


@settings(max_examples=200, deadline=None)
@given(views())
def test_common_factors_walk_every_source_in_order(pair: Pair) -> None:
    tensor, ref = pair
    straight, _ = variable(ref.shape)
    for _, shape, sources in boxes([straight, tensor]):
        factors = common_factors(sources)
        assert math.prod(n for n, _ in factors) == math.prod(shape)
        for number, source in enumerate(sources):
            base = source.offset if isinstance(source, View) else 0
            total = np.array(base)
            for extent, strides in factors:
                total = np.add.outer(total, np.arange(extent) * strides[number])
            if isinstance(source, View):
                np.testing.assert_array_equal(total.reshape(-1), elements(source).reshape(-1))
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
        np.testing.assert_array_equal(dense(again), dense(alone))


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
    tensor, ref = variable((4, 6))
    view = tensor.transpose((1, 0)).slice(0, 5, -1, -2).view()
    assert view == View(0, 5, (((3, -2),), ((4, 6),)))
    np.testing.assert_array_equal(elements(view), ref.T[::-2])
    assert concat([tensor, tensor], 0).view() is None
    assert fill(1.0, (3,), "float32").view() is None


def test_a_reshape_that_no_view_can_say() -> None:
    tensor, _ = variable((2, 3))
    assert tensor.transpose((1, 0)).reshape((6,)) is not None  # two factors in one axis
    assert concat([tensor, tensor], 1).reshape((12,)) is None  # a box would be two runs


def test_shapes_that_do_not_broadcast_are_refused() -> None:
    tensor, _ = variable((2, 3))
    for shape in ((2, 4), (3,), (3, 3)):
        with pytest.raises(ShapeError, match="does not broadcast"):
            tensor.expand(shape)


def test_element_types() -> None:
    tensor, _ = variable((2, 3))
    assert tensor.itemsize == 4
