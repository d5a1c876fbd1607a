"""Cut joined vertices into parts that fit a cache and may run at the same time."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from ipuc.program.family import Access, IndexMap, VertexFamily

#: Elements of all fields of a part. Less is done before another thread has woken up; of more, what
#: is computed on the way to a result does not stay in the cache.
PART_ELEMENTS = 1 << 19


def parted(family: VertexFamily) -> list[VertexFamily]:
    """Cut along an axis of the grid, or one along which work may be cut anywhere.

    It is the one along which the largest field takes the largest steps, so that each part has a
    stretch of memory of its own, or the longest if none of them has enough positions.

    Vertices that multiply matrices stay together: their codelets cut the products.

    Returns:
        Families that compute the same; the family alone if it is small, or cannot be cut.
    """
    accesses = family.fields.values()
    if family.codelet.multiplies or any(a.offset.explicit is not None for a in accesses):
        return [family]
    wanted = sum(map(_reached, accesses)) // PART_ELEMENTS
    if wanted < 2:
        return [family]
    windows = family.windows()
    free = [one.axes for one in family.codelet.free_axes(windows) if one.slide is None]
    firsts = [next(iter(axes.items())) for axes in free]
    lengths = (*family.grid, *(windows[name][axis] for name, axis in firsts))
    steps = _steps(family, free)
    axis = max(
        range(len(lengths)), key=lambda a: (min(lengths[a], wanted), steps[a], lengths[a], a)
    )
    longest = lengths[axis]
    count = min(wanted, longest)
    edges = [part * longest // count for part in range(count + 1)]
    grid_axes = len(family.grid)
    return [
        _some_vertices(family, axis, begin, end)
        if axis < grid_axes
        else _some_work(family, free[axis - grid_axes], begin, end)
        for begin, end in itertools.pairwise(edges)
    ]


def _steps(family: VertexFamily, free: Sequence[Mapping[str, int]]) -> list[int]:
    """Elements from one position to the next of the largest field, along every axis."""
    name, access = max(family.fields.items(), key=lambda one: _reached(one[1]))
    tables = access.offset.tables
    along = [int(table[1] - table[0]) if len(table) > 1 else 0 for table in tables]
    return along + [access.strides[axes[name]] if name in axes else 0 for axes in free]


def _reached(access: Access) -> int:
    """Elements of a field of all vertices; those that vertices share count once."""
    moving = (len(table) for table in access.offset.tables if (table != table[0]).any())
    return math.prod((*access.shape, *moving))


def elements(family: VertexFamily) -> int:
    """Elements of all fields of all vertices; those that vertices share count for each."""
    return family.count * sum(math.prod(access.shape) for access in family.fields.values())


def _some_vertices(family: VertexFamily, axis: int, begin: int, end: int) -> VertexFamily:
    def some(index: IndexMap) -> IndexMap:
        tables = list(index.tables)
        tables[axis] = tables[axis][begin:end]
        return IndexMap(index.base, tuple(tables))

    grid = (*family.grid[:axis], end - begin, *family.grid[axis + 1 :])
    fields = {name: replace(a, offset=some(a.offset)) for name, a in family.fields.items()}
    return replace(family, grid=grid, tile=some(family.tile), fields=fields)


def _some_work(family: VertexFamily, axes: Mapping[str, int], begin: int, end: int) -> VertexFamily:
    def some(name: str, access: Access) -> Access:
        if name not in axes:
            return access
        axis = axes[name]
        base = access.offset.base + begin * access.strides[axis]
        return Access(
            access.variable,
            IndexMap(base, access.offset.tables),
            (*access.shape[:axis], end - begin, *access.shape[axis + 1 :]),
            access.strides,
        )

    return replace(family, fields={name: some(name, a) for name, a in family.fields.items()})
