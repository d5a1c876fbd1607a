"""From splits to families: which part of each dimension which vertex gets, and on which tile."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ipuc.planner.context import Granularity
from ipuc.program.family import Access, IndexMap, separable
from ipuc.program.split import Parts, split_axis
from ipuc.types import Ints, Shape

#: Elements of one `fine` vertex: one dot product of the matrix unit.
FINE_ELEMENTS = 16


@dataclass(frozen=True, slots=True)
class GridAxis:
    """One grid axis of a family.

    Attributes:
        dim: the dimension of the problem it moves along.
        begin: element of that dimension at which each position begins.
        number: part number of each position, for numbering tiles and partials; None if the
            axis only divides what one tile does.
    """

    dim: int
    begin: Ints
    number: Ints | None


@dataclass(frozen=True, slots=True)
class Portion:
    """Vertices whose windows have one shape.

    Attributes:
        axes: the grid.
        shape: window extents, one per dimension.
    """

    axes: tuple[GridAxis, ...]
    shape: Shape

    def access(self, variable: int, offset: int, strides: Sequence[int]) -> Access:
        """Connect a field whose element strides along the dimensions are given."""
        tables = [axis.begin * strides[axis.dim] for axis in self.axes]
        return Access(variable, separable(offset, *tables), self.shape, tuple(strides))

    def numbers(self, strides: Sequence[int], base: int = 0) -> IndexMap:
        """A number per vertex: the sum over dimensions of part number * stride."""
        tables = [
            np.zeros_like(axis.begin) if axis.number is None else axis.number * strides[axis.dim]
            for axis in self.axes
        ]
        return separable(base, *tables)


def row_major(parts: Sequence[int]) -> list[int]:
    """Strides that number the parts in row-major order."""
    return [math.prod(parts[i + 1 :]) for i in range(len(parts))]


def portions(
    extents: Shape,
    parts: Sequence[int],
    grains: Sequence[int],
    granularity: Granularity = "tile",
    workers: int = 6,
    divisible: Sequence[int] | None = None,
) -> Iterator[Portion]:
    """Split a box of work over tiles, and each tile's share over vertices.

    Args:
        extents: the problem's dimensions.
        parts: tile-level parts of each.
        grains: elements of each dimension that stay together.
        granularity: `tile`: one vertex per tile; `worker`: a tile's share is cut along its
            longest dimension into at most `workers` vertices, m = ceil(n / W) each; `fine`:
            vertices of at most 16 elements.
        workers: worker contexts of a tile.
        divisible: dimensions along which a tile's share may be cut; all by default.
    """
    splits = [split_axis(n, p, g) for n, p, g in zip(extents, parts, grains, strict=True)]
    allowed = range(len(extents)) if divisible is None else divisible
    for combination in itertools.product(*splits):
        axes = tuple(GridAxis(d, p.begin, p.index) for d, p in enumerate(combination))
        shape = tuple(p.size for p in combination)
        for inner in _within(shape, granularity, workers, allowed):
            extra = tuple(GridAxis(d, p.begin, None) for d, p in inner)
            final = list(shape)
            for d, p in inner:
                final[d] = p.size
            yield Portion(axes + extra, tuple(final))


def _within(
    shape: Shape, granularity: Granularity, workers: int, allowed: Sequence[int]
) -> Iterator[tuple[tuple[int, Parts], ...]]:
    """How one tile's share is cut into vertices: (dimension, parts) of each extra grid axis."""
    if granularity == "tile" or not allowed:
        yield ()
    elif granularity == "worker":
        dim = max(allowed, key=lambda d: shape[d])
        for part in worker_parts(shape[dim], workers):
            yield ((dim, part),)
    else:
        inner = max(allowed)
        counts = [(d, shape[d]) for d in allowed if d != inner and shape[d] > 1]
        counts.append((inner, -(-shape[inner] // FINE_ELEMENTS)))
        for combination in itertools.product(*(split_axis(shape[d], n) for d, n in counts)):
            yield tuple((d, p) for (d, _), p in zip(counts, combination, strict=True))


def worker_parts(items: int, workers: int) -> list[Parts]:
    """Cut n items on a tile into ceil(n / m) vertices of at most m = ceil(n / W) items."""
    most = -(-items // workers)
    return split_axis(items, -(-items // most))
