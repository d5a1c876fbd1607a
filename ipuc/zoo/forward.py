"""The few operators that seeding a model's weights needs, in NumPy.

Weights are scaled by what their layer is fed (see `weights`), so somebody has to compute what
that is. onnxruntime is no runtime package of ours and onnx.reference takes minutes for these
nets; this takes seconds. It is not the emulator and no oracle: tests hold it to onnxruntime.
Every function takes a node's attributes and inputs and returns its first output.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from ipuc.zoo.draft import Array

Attrs = dict[str, Any]


def _conv(attrs: Attrs, x: Array, w: Array, b: Array | None = None) -> Array:
    """Convolve by laying out every window as a column and multiplying matrices."""
    rank, group = w.ndim - 2, attrs.get("group", 1)
    strides = attrs.get("strides", [1] * rank)
    dilations = attrs.get("dilations", [1] * rank)
    spans = [d * (k - 1) + 1 for d, k in zip(dilations, w.shape[2:], strict=True)]
    space = tuple(range(2, 2 + rank))
    windows = np.lib.stride_tricks.sliding_window_view(_padded(attrs, x, 0.0), spans, space)
    steps = [slice(None, None, s) for s in (*strides, *dilations)]
    windows = windows[(slice(None), slice(None), *steps)]  # [N, C, *out, *kernel]
    out = windows.shape[2 : 2 + rank]
    kernels = w.reshape(group, w.shape[0] // group, -1).astype(x.dtype)
    y = np.empty((len(x), group, w.shape[0] // group, np.prod(out, dtype=int)), x.dtype)
    to_columns = (0, *range(1 + rank, 1 + 2 * rank), *range(1, 1 + rank))
    for image, result in zip(windows, y, strict=True):  # one at a time, to bound the columns
        columns = image.transpose(to_columns).reshape(group, kernels.shape[2], -1)
        np.matmul(kernels, columns, out=result)
    y = y.reshape(len(x), w.shape[0], *out)
    if b is not None:
        y += _by_channel(b, y)
    return y


def _max_pool(attrs: Attrs, x: Array) -> Array:
    taps = _taps(attrs, _padded(attrs, x, -np.inf))
    y = next(taps).copy()
    for tap in taps:
        np.maximum(y, tap, out=y)
    return y


def _average_pool(attrs: Attrs, x: Array) -> Array:
    total = sum(_taps(attrs, _padded(attrs, x, 0.0)))
    if attrs.get("count_include_pad", 0):
        return np.asarray(total / np.float32(np.prod(attrs["kernel_shape"])))
    ones = np.ones((1, 1, *x.shape[2:]), x.dtype)
    return np.asarray(total / sum(_taps(attrs, _padded(attrs, ones, 0.0))))


def _batch_norm(attrs: Attrs, x: Array, *weights: Array) -> Array:
    scale, bias, mean, var = (_by_channel(w, x) for w in weights)
    y: Array = (x - mean) * (scale / np.sqrt(var + np.float32(attrs.get("epsilon", 1e-5)))) + bias
    return y


def _lrn(attrs: Attrs, x: Array) -> Array:
    """Divide by a power of the energy of `size` neighbouring channels."""
    size = attrs["size"]
    before = (size - 1) // 2
    widths = [(0, 0)] * x.ndim
    widths[1] = (before, size - 1 - before)
    squares = np.pad(x * x, widths)
    energy = sum(squares[:, i : i + x.shape[1]] for i in range(size))
    alpha, beta = attrs.get("alpha", 1e-4), attrs.get("beta", 0.75)
    return np.asarray(x / (attrs.get("bias", 1.0) + alpha / size * energy) ** beta, x.dtype)


def _gemm(attrs: Attrs, a: Array, b: Array, c: Array | None = None) -> Array:
    """Multiply in the type of b: a matrix of weights may be too large to convert."""
    a = a.astype(b.dtype)
    a = a.T if attrs.get("transA", 0) else a
    b = b.T if attrs.get("transB", 0) else b
    y = np.float32(attrs.get("alpha", 1.0)) * (a @ b)
    return y if c is None else y + np.float32(attrs.get("beta", 1.0)) * c


def _softmax(attrs: Attrs, x: Array) -> Array:
    """Normalise over all axes from `axis` on, as operator sets below 13 do.

    Newer ones normalise a single axis, which is the same for the last, the only one used here.
    """
    axis = attrs.get("axis", 1) % x.ndim
    over = tuple(range(axis, x.ndim))
    e = np.exp(x - x.max(over, keepdims=True))
    return np.asarray(e / e.sum(over, keepdims=True))


def _reshape(attrs: Attrs, x: Array, shape: Array) -> Array:
    """Reshape without a copy where the layout allows; 0 keeps a dimension."""
    del attrs
    return x.reshape([x.shape[i] if n == 0 else int(n) for i, n in enumerate(shape)])


def _unsqueeze(attrs: Attrs, x: Array, axes: Array | None = None) -> Array:
    where = attrs["axes"] if axes is None else axes.tolist()
    return np.expand_dims(x, tuple(where))


def _slice(attrs: Attrs, x: Array, *controls: Array) -> Array:
    """Cut by vectors of starts, ends, axes and steps, all four given."""
    del attrs
    index = [slice(None)] * x.ndim
    for start, end, axis, step in zip(*controls, strict=True):
        index[axis] = slice(start, end, step)
    return x[tuple(index)]


def _pad(attrs: Attrs, x: Array, pads: Array) -> Array:
    del attrs
    return np.pad(x, pads.reshape(2, -1).T.tolist())


OPS: dict[str, Callable[..., Array]] = {
    "Add": lambda _, x, y: x + y,
    "AveragePool": _average_pool,
    "BatchNormalization": _batch_norm,
    "Concat": lambda attrs, *xs: np.concatenate(xs, attrs["axis"]),
    "Conv": _conv,
    "Dropout": lambda _, x, *__: x,
    "Flatten": lambda _, x: x.reshape(len(x), -1),
    "Gemm": _gemm,
    "GlobalAveragePool": lambda _, x: x.mean(tuple(range(2, x.ndim)), keepdims=True),
    "LRN": _lrn,
    "MaxPool": _max_pool,
    "Mul": lambda _, x, y: x * y,
    "Pad": _pad,
    "Relu": lambda _, x: np.maximum(x, 0),
    "Reshape": _reshape,
    "Slice": _slice,
    "Softmax": _softmax,
    "Sum": lambda _, *xs: sum(xs),
    "Transpose": lambda attrs, x: x.transpose(attrs["perm"]),
    "Unsqueeze": _unsqueeze,
}


def _by_channel(weights: Array, x: Array) -> Array:
    """Shape a vector so that it broadcasts along axis 1 of x."""
    return weights.reshape(-1, *[1] * (x.ndim - 2))


def _padded(attrs: Attrs, x: Array, fill: float) -> Array:
    """Surround the spatial axes with `fill` as the attribute `pads` asks."""
    pads: Sequence[int] = attrs.get("pads", [])
    if not any(pads):
        return x
    rank = x.ndim - 2
    widths = [(0, 0), (0, 0), *zip(pads[:rank], pads[rank:], strict=True)]
    return np.pad(x, widths, constant_values=fill)


def _taps(attrs: Attrs, x: Array) -> Iterator[Array]:
    """Yield, for every position in the pooling window, that element of all windows."""
    kernel = attrs["kernel_shape"]
    strides = attrs.get("strides", [1] * len(kernel))
    counts = [(n - k) // s + 1 for n, k, s in zip(x.shape[2:], kernel, strides, strict=True)]
    for offsets in itertools.product(*map(range, kernel)):
        spans = zip(offsets, counts, strides, strict=True)
        window = [slice(o, o + (n - 1) * s + 1, s) for o, n, s in spans]
        yield x[(slice(None), slice(None), *window)]
