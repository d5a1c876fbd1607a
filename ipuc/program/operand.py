"""Reach the elements of a whole family at once, as one NumPy array over a flat buffer."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ipuc.program.family import Access
from ipuc.types import Ints, Shape

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Reach:
    """Where a field of every vertex lies in a buffer, worked out once and used often.

    A strided view of the buffer where every table is an arithmetic progression; of other axes the
    positions that the vertices use are picked from the view.

    Attributes:
        begin: first element of the view.
        shape: extents of the view: grid axes, then window axes. The offsets of an explicit array
            are one axis. An axis on which vertices share elements has extent 1.
        strides: of the view, in elements.
        index: for each irregular grid axis, the positions to pick.
        grid: extents of the family's grid.
        window: extents of one vertex's window.
        explicit: the offsets are an array, not tables.
    """

    begin: int
    shape: Shape
    strides: tuple[int, ...]
    grid: Shape
    window: Shape
    index: dict[int, Ints] = field(default_factory=dict)
    explicit: bool = False

    def gather(self, flat: Array) -> Array:
        """Read a field of every vertex: [*grid, *window].

        A view of `flat` if no axis is irregular, else a copy. Axes on which the field is shared
        have stride 0.

        Raises:
            ValueError: a window leaves the buffer (the verifier says so in better words).
        """
        size = flat.itemsize
        if not self.index:
            shared = (n == 1 for n in self.shape)
            steps = tuple(
                0 if one else s * size for one, s in zip(shared, self.strides, strict=True)
            )
            whole = (*self.grid, *self.window)
            view: Array = np.ndarray(whole, flat.dtype, flat, self.begin * size, steps)
            view.flags.writeable = False
            return view
        view = self._view(flat)
        axes = tuple(self.index)
        picked = np.moveaxis(view, axes, range(len(axes)))[np.ix_(*self.index.values())]
        view = np.moveaxis(picked, range(len(axes)), axes)
        if self.explicit:
            return view.reshape((*self.grid, *self.window))
        return np.broadcast_to(view, (*self.grid, *self.window))

    def scatter(self, flat: Array, values: Array) -> None:
        """Write a field of every vertex; `values` broadcasts to [*grid, *window].

        On a grid axis that does not move the window the first position stays (only the successive
        supersteps of a sweep may share an output).
        """
        view = self._view(flat)
        full = np.broadcast_to(values, (*self.grid, *self.window))
        if self.explicit:
            full = full.reshape(math.prod(self.grid), *self.window)
        first = tuple(
            slice(1) if axis not in self.index and extent == 1 else slice(None)
            for axis, extent in enumerate(view.shape)
        )
        full = full[first]
        if not self.index:
            view[...] = full
            return
        axes = tuple(self.index)
        moved = np.moveaxis(full, axes, range(len(axes)))
        np.moveaxis(view, axes, range(len(axes)))[np.ix_(*self.index.values())] = moved

    @property
    def fillable(self) -> bool:
        """Whether a view holds every element of every vertex once."""
        return not self.index and self.shape == (*self.grid, *self.window) and 0 not in self.strides

    def destination(self, flat: Array) -> Array | None:
        """Where the values of a field lie: [*grid, *window], a view to fill; None if there is none.

        There is none where a table is irregular, or vertices share elements.
        """
        return self._view(flat) if self.fillable else None

    def _view(self, flat: Array) -> Array:
        size = flat.itemsize
        steps = tuple(s * size for s in self.strides)
        return np.ndarray(self.shape, flat.dtype, flat, self.begin * size, steps)


def reach(access: Access) -> Reach:
    """Work out where the elements of a field lie."""
    grid, offset = access.offset.grid, access.offset
    if offset.explicit is not None:
        low, high = offset.bounds()
        positions = offset.explicit.reshape(-1) + (offset.base - low)
        return Reach(
            low,
            (high - low + 1, *access.shape),
            (1, *access.strides),
            grid,
            access.shape,
            {0: positions},
            explicit=True,
        )
    shape: list[int] = []
    strides: list[int] = []
    index: dict[int, Ints] = {}
    begin = offset.base
    for axis, table in enumerate(offset.tables):
        first, step, irregular = _progression(table)
        begin += first
        shape.append(len(table) if step else 1)
        # The stride of a single position does not matter, and must not look like a shared one.
        strides.append(step or 1)
        if irregular is not None:
            index[axis] = irregular
            shape[-1] = int(irregular.max()) + 1
    steps = tuple(s if n > 1 else 1 for n, s in zip(access.shape, access.strides, strict=True))
    return Reach(begin, (*shape, *access.shape), (*strides, *steps), grid, access.shape, index)


def gather(access: Access, flat: Array) -> Array:
    """Read a field of every vertex once: [*grid, *window]; one axis for explicit offsets."""
    found = reach(access).gather(flat)
    if access.offset.explicit is not None:
        return found.reshape(math.prod(access.offset.grid), *access.shape)
    return found


def scatter(access: Access, flat: Array, values: Array) -> None:
    """Write a field of every vertex once; see `Reach.scatter`."""
    reach(access).scatter(flat, values)


def destination(access: Access, flat: Array) -> Array | None:
    """Where the values of a field lie; see `Reach.destination`."""
    return reach(access).destination(flat)


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
    """Read a field of every vertex once: [*grid, *window]; see `Reach.gather`."""
    return reach(access).gather(flat)
