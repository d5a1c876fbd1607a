"""Reach the elements of a whole family at once, as one NumPy array over a flat buffer."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ipuc.program.family import Access
from ipuc.types import Ints

Array = NDArray[Any]


def gather(access: Access, flat: Array) -> Array:
    """Read a field of every vertex: [*grid, *window].

    A view of `flat` where every table is an arithmetic progression, else a copy. Axes on which
    the field is shared have stride 0.

    Raises:
        ValueError: a window leaves the buffer (the verifier says so in better words).
    """
    view, index = _view(access, flat)
    if index:
        axes = tuple(index)
        picked = np.moveaxis(view, axes, range(len(axes)))[np.ix_(*index.values())]
        view = np.moveaxis(picked, range(len(axes)), axes)
    if access.offset.explicit is not None:
        return view
    return np.broadcast_to(view, (*access.offset.grid, *access.shape))


def scatter(access: Access, flat: Array, values: Array) -> None:
    """Write a field of every vertex; `values` broadcasts to [*grid, *window].

    On a grid axis that does not move the window the first position stays (only the successive
    supersteps of a sweep may share an output).
    """
    view, index = _view(access, flat)
    full = np.broadcast_to(values, (*access.offset.grid, *access.shape))
    if access.offset.explicit is not None:
        full = full.reshape(math.prod(access.offset.grid), *access.shape)
    axes = tuple(index)
    first = tuple(
        slice(1) if axis not in index and extent == 1 else slice(None)
        for axis, extent in enumerate(view.shape)
    )
    full = full[first]
    if not index:
        view[...] = full
        return
    moved = np.moveaxis(full, axes, range(len(axes)))
    np.moveaxis(view, axes, range(len(axes)))[np.ix_(*index.values())] = moved


def destination(access: Access, flat: Array) -> Array | None:
    """Where the values of a field lie: [*grid, *window], a view to fill; None if there is none.

    There is none where a table is irregular, or vertices share elements.
    """
    still = any(n > 1 and not s for n, s in zip(access.shape, access.strides, strict=True))
    if access.offset.explicit is not None or still:
        return None
    view, index = _view(access, flat)
    if index or view.shape != (*access.offset.grid, *access.shape):
        return None
    return view


def _view(access: Access, flat: Array) -> tuple[Array, dict[int, Ints]]:
    """A strided view, and for each irregular axis the positions to pick from it."""
    size = flat.itemsize
    window = [s * size for s in access.strides]
    if access.offset.explicit is not None:
        low, high = access.offset.bounds()
        offsets = access.offset.explicit.reshape(-1) + (access.offset.base - low)
        view = np.ndarray(
            (high - low + 1, *access.shape), flat.dtype, flat, low * size, (size, *window)
        )
        return view, {0: offsets}
    shape: list[int] = []
    strides: list[int] = []
    index: dict[int, Ints] = {}
    base = access.offset.base
    for axis, table in enumerate(access.offset.tables):
        first, step, positions = _progression(table)
        base += first
        shape.append(len(table) if step else 1)
        strides.append(step * size)
        if positions is not None:
            index[axis] = positions
            shape[-1] = int(positions.max()) + 1
    full = (*shape, *access.shape)
    return np.ndarray(full, flat.dtype, flat, base * size, (*strides, *window)), index


def _progression(table: Ints) -> tuple[int, int, Ints | None]:
    """First value and step of a table; positions in units of the step if it is irregular."""
    if len(table) == 1:
        return int(table[0]), 0, None
    steps = np.diff(table)
    if (steps == steps[0]).all():
        return int(table[0]), int(steps[0]), None
    low = int(table.min())
    step = int(np.gcd.reduce(table - low))
    return low, step, (table - low) // step


def gather_grid(access: Access, flat: Array) -> Array:
    """`gather`, with the grid of an explicit offset array restored."""
    picked = gather(access, flat)
    return picked.reshape((*access.offset.grid, *access.shape))
