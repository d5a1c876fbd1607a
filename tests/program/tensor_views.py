"""Random views of a variable, each with what NumPy makes of the same steps."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from ipuc.program.tensor import Fill, Tensor, View, concat, fill, of_variable
from ipuc.program.variables import Variable

Array = NDArray[Any]
Pair = tuple[Tensor, Array]
EXTENTS = st.sampled_from([1, 2, 3, 4, 6])
FILLED = -1.0
MOST = 2000


def variable(shape: tuple[int, ...]) -> Pair:
    """A variable whose elements are their own numbers."""
    made = Variable(0, "v", "float32", shape)
    return of_variable(made), np.arange(made.size, dtype=float).reshape(shape)


def elements(source: View | Fill) -> Array:
    """The contents of a box, by nested sums over the factors."""
    if isinstance(source, Fill):
        return np.full(source.shape, source.value)
    total = np.array(float(source.offset))
    for extent, stride in (factor for axis in source.axes for factor in axis):
        total = np.add.outer(total, np.arange(extent) * float(stride))
    return total.reshape(source.shape)


def dense(tensor: Tensor) -> Array:
    """The contents of a tensor; each element is given by exactly one box."""
    out = np.full(tensor.shape, np.nan)
    for piece in tensor.pieces:
        place = tuple(slice(b, e) for b, e in zip(piece.begin, piece.end, strict=True))
        assert np.isnan(out[place]).all()
        out[place] = elements(piece.source)
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
    tensor, ref = variable(shape)
    for change in draw(
        st.lists(st.sampled_from([_transpose, _slice, _concat, _expand, _reshape]), max_size=6)
    ):
        if (ref.ndim == 0 or ref.size == 0) and change in (_transpose, _slice, _concat):
            continue
        made = change(draw, tensor, ref)
        if made[1].size <= MOST:
            tensor, ref = made
    return tensor, ref
