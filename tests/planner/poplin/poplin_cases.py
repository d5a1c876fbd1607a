"""Random convolutions, and what they compute: sliding windows of NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from ipuc.planner.poplin.params import ConvParams, Dim, Reach, Yield

Array = NDArray[np.float64]


def seen(array: Array, axis: int, reach: Reach) -> Array:
    """An operand as the convolution sees it along one axis."""
    moved = np.moveaxis(array, axis, -1)
    size = moved.shape[-1]
    moved = moved[..., reach.trunc[0] : size - reach.trunc[1]]
    kept = moved.shape[-1]
    spread = np.zeros((*moved.shape[:-1], (kept - 1) * reach.dilation + 1))
    spread[..., :: reach.dilation] = moved
    made = np.pad(spread, [(0, 0)] * (spread.ndim - 1) + [reach.pad])
    made = made[..., ::-1] if reach.flip else made
    return np.moveaxis(made, -1, axis)


def apply(params: ConvParams, data: Array, weights: Array) -> Array:
    """data [groups, batch, in, *field], weights [groups, out, in, *kernel] by the definition."""
    rank = len(params.dims)
    for index, dim in enumerate(params.dims):
        data = seen(data, 3 + index, dim.data)
        weights = seen(weights, 3 + index, dim.weights)
    axes = tuple(range(3, 3 + rank))
    windows = np.lib.stride_tricks.sliding_window_view(data, weights.shape[3:], axes)
    made: Any = np.einsum("gbixyuv,goiuv->gboxy", windows, weights)
    for index, dim in enumerate(params.dims):
        axis, result = 3 + index, dim.result
        stop = made.shape[axis] - result.trunc[1]
        made = made[(slice(None),) * axis + (slice(result.trunc[0], stop, result.stride),)]
        made = np.pad(made, [(0, 0)] * axis + [result.pad] + [(0, 0)] * (rank - 1 - index))
    return np.asarray(made)


def operands(params: ConvParams, seed: int) -> tuple[Array, Array]:
    """Small whole numbers, so that every sum is exact."""
    rng = np.random.default_rng(seed)
    field, kernel = zip(*((dim.size, dim.kernel) for dim in params.dims), strict=True)
    data = (params.groups, params.batch, params.in_channels, *field)
    weights = (params.groups, params.out_channels, params.in_channels, *kernel)
    return (
        rng.integers(-4, 5, data).astype(np.float64),
        rng.integers(-4, 5, weights).astype(np.float64),
    )


_few = st.integers(0, 2)
_pair = st.tuples(_few, _few)


@st.composite
def reaches(draw: st.DrawFn, size: int, *, bent: bool) -> Reach:
    """A way to see an operand that leaves at least one element."""
    head = draw(st.integers(0, min(2, size - 1)))
    tail = draw(st.integers(0, min(2, size - 1 - head)))
    flip = draw(st.booleans()) if bent else False
    return Reach((head, tail), draw(st.integers(1, 3)), draw(_pair), flip)


@st.composite
def any_dims(draw: st.DrawFn) -> Dim:
    """A dimension with every kind of transform."""
    size, kernel = draw(st.integers(1, 8)), draw(st.integers(1, 4))
    data = draw(reaches(size, bent=True))
    weights = draw(reaches(kernel, bent=True))
    lack = weights.length(kernel) - data.length(size)
    if lack > 0:
        data = Reach(data.trunc, data.dilation, (data.pad[0] + lack, data.pad[1]), data.flip)
    places = data.length(size) - weights.length(kernel) + 1
    head = draw(st.integers(0, min(2, places - 1)))
    tail = draw(st.integers(0, min(2, places - 1 - head)))
    return Dim(
        size, kernel, data, weights, Yield((head, tail), draw(st.integers(1, 3)), draw(_pair))
    )


@st.composite
def plain_dims(draw: st.DrawFn, *, pads: bool = True) -> Dim:
    """A dimension of a convolution as models have them: padding, stride, kernel dilation."""
    kernel, dilation = draw(st.integers(1, 4)), draw(st.integers(1, 2))
    pad = draw(_pair) if pads else (0, 0)
    least = max((kernel - 1) * dilation + 1 - sum(pad), 1)
    size = draw(st.integers(least, least + 6))
    return Dim(
        size,
        kernel,
        Reach(pad=pad),
        Reach(dilation=dilation),
        Yield(stride=draw(st.integers(1, 3))),
    )


def convolutions(dims: st.SearchStrategy[Dim]) -> st.SearchStrategy[ConvParams]:
    """Convolutions of two dimensions with few channels."""
    few = st.integers(1, 3)
    return st.builds(
        ConvParams,
        st.sampled_from([2, 4]),
        st.sampled_from([2, 4]),
        few,
        st.tuples(dims, dims),
        few,
        few,
        few,
    )
