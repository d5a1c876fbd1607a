"""Convolutions of many vertices at once, as matrix products of blocks that fit a cache."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from ipuc.codelets.amp import grouped_product, merged
from ipuc.codelets.conv_phases import Phase, phases
from ipuc.codelets.define import Array
from ipuc.codelets.threads import WORTH_SPLITTING, Task, scratch

#: Bytes of columns made at once: more do not fit the cache of a core beside the weights.
COLUMN_BYTES = 2 << 20
#: Multiply-adds of a block that is worth a task of its own, and most blocks made for that reason.
BLOCK_WORK, MOST_BLOCKS = 1 << 24, 16
#: An image with so many outputs, and so many multiply-adds, is multiplied for itself: its result
#: then lies where the matrix library can put it.
IMAGE_OUTPUTS, IMAGE_WORK = 64, 1 << 20

Starter = Callable[[Task], None]


@dataclass(frozen=True, slots=True)
class Convolution:
    """What is to be computed.

    Attributes:
        x: [*grid, batch, group, in channels, *field]; grid axes on which it is shared have extent
            1, here and below.
        weights: [*grid, group, out channels, in channels, *kernel].
        low: place that the first output sees with the first kernel element, counted from the
            window's first element.
        stride: per field dimension, as the other two; see `ipuc.codelets.conv_vertex.ConvVertex`.
        dilation: of the kernel.
        spread: of the data.
    """

    x: Array
    weights: Array
    low: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    spread: tuple[int, ...]

    @property
    def grid_axes(self) -> int:
        """Number of leading grid axes."""
        return self.weights.ndim - 3 - len(self.stride)


def convolve(problem: Convolution, into: Array, start: Starter) -> None:
    """Convolve phase by phase: outputs that meet the same kernel elements are done together.

    Each element is the same dot product as without blocks. Its last bit may differ: matrix
    libraries add in another order at the edges of their own blocks.

    Args:
        problem: what to compute.
        into: [*grid, batch, group, out channels, *out], which is filled.
        start: takes tasks that fill it; it is filled once they have run.
    """
    axes = problem.grid_axes
    out, kernel = into.shape[axes + 3 :], problem.weights.shape[axes + 3 :]
    ways = [
        phases(*size)
        for size in zip(
            out,
            kernel,
            problem.low,
            problem.stride,
            problem.dilation,
            problem.spread,
            strict=True,
        )
    ]
    whole = (slice(None),) * (axes + 3)
    for way in itertools.product(*ways):
        place = into[(*whole, *(phase.out_slice for phase in way))]
        taken = problem.weights[(*whole, *(phase.kernel_slice for phase in way))]
        if taken.size and place.size:
            _phase(replace(problem, weights=taken), list(way), place, start)
        else:
            place[...] = 0


def _phase(problem: Convolution, way: list[Phase], into: Array, start: Starter) -> None:
    """A convolution without spread, block by block."""
    axes = problem.grid_axes
    weights = problem.weights
    kernel_first = merged(weights.shape[axes + 2 :], weights.strides[axes + 2 :]) is None
    if kernel_first:
        # A part of a kernel must be copied: channel by channel the runs are longer.
        weights = np.moveaxis(weights, axes + 2, -1)
    left = weights.reshape(*weights.shape[: axes + 2], -1)
    small = _work(problem, into) < WORTH_SPLITTING
    for block in _blocks(problem, way, into):
        task = block.task(problem.x, left, way, into, kernel_first=kernel_first)
        if small:
            task()
        else:
            start(task)


def _work(problem: Convolution, into: Array) -> int:
    """Multiply-adds of all vertices."""
    return into.size * math.prod(problem.weights.shape[problem.grid_axes + 2 :])


@dataclass(frozen=True, slots=True)
class _Block:
    """A part of the vertices, of their images, groups and rows of outputs."""

    grid: tuple[slice, ...]
    images: slice
    groups: slice
    rows: slice

    def task(
        self, x: Array, left: Array, way: list[Phase], into: Array, *, kernel_first: bool
    ) -> Task:
        """Fill this block of `into`; `left` are the weights as [*grid, group, out, depth]."""
        mine = _taken(x, self.grid)[(*_all(self.grid), self.images, self.groups)]
        weights = _taken(left, self.grid)[(*_all(self.grid), self.groups)]
        whole = slice(None)
        place = _taken(into, self.grid)[
            (*_all(self.grid), self.images, self.groups, whole, self.rows)
        ]
        begin, end, _ = self.rows.indices(way[0].outs)
        first = replace(way[0], begin=way[0].begin + begin * way[0].stride, outs=end - begin)

        def run() -> None:
            _multiply(mine, weights, [first, *way[1:]], place, kernel_first=kernel_first)

        return run


def _all(grid: tuple[slice, ...]) -> tuple[slice, ...]:
    return (slice(None),) * len(grid)


def _taken(array: Array, grid: tuple[slice, ...]) -> Array:
    """A part of the vertices; an axis on which they share what they see stays as it is."""
    shared = (n == 1 for n in array.shape)
    return array[
        tuple(slice(None) if one else part for one, part in zip(shared, grid, strict=False))
    ]


def _blocks(problem: Convolution, way: list[Phase], into: Array) -> Iterator[_Block]:
    """Cut the work: columns of `COLUMN_BYTES` or less, no less than a row of outputs."""
    axes = problem.grid_axes
    x, weights = problem.x, problem.weights
    images, groups = into.shape[axes : axes + 2]
    plane = math.prod(phase.outs for phase in way)
    depth = math.prod(weights.shape[axes + 2 :])
    size = math.prod(x.shape[: axes + 2]) * depth * plane * x.itemsize
    work = _work(problem, into)
    left = max(-(-size // COLUMN_BYTES), min(work // BLOCK_WORK, MOST_BLOCKS), 1)
    by_image = plane >= IMAGE_OUTPUTS and work >= images * IMAGE_WORK
    # Axes along which nothing is gathered twice.
    extents = [images, *(max(1, n) for n in x.shape[:axes]), groups, way[0].outs]
    cuts: list[list[slice]] = []
    for number, extent in enumerate(extents):
        parts = min(left, extent) if number or not by_image else extent
        cuts.append(_even(extent, parts))
        left = -(-left // max(parts, 1))
    for mine, *grid, group, rows in itertools.product(*cuts):
        yield _Block(tuple(grid), mine, group, rows)


def _even(extent: int, parts: int) -> list[slice]:
    """Cut an extent into near equal parts, so that none is too small to be quick."""
    if parts <= 1:
        return [slice(None)]
    edges = [part * extent // parts for part in range(parts + 1)]
    return [slice(begin, end) for begin, end in itertools.pairwise(edges)]


def _multiply(x: Array, left: Array, way: list[Phase], into: Array, *, kernel_first: bool) -> None:
    """Multiply weights by columns.

    Args:
        x: [*grid, batch, group, in channels, *field].
        left: weights, [*grid, group, out channels, depth].
        way: the phase of each field dimension.
        into: [*grid, batch, group, out channels, *out].
        kernel_first: depth is kernel elements, then in channels; else the other way around.
    """
    axes, dims = left.ndim - 3, len(way)
    columns = _columns(x, way)
    lead = list(range(axes))
    b, g, ci = axes, axes + 1, axes + 2
    out_axes = list(range(axes + 3, axes + 3 + dims))
    kernel_axes = list(range(axes + 3 + dims, axes + 3 + 2 * dims))
    deep = [*kernel_axes, ci] if kernel_first else [ci, *kernel_axes]
    right = columns.transpose(*lead, g, *deep, b, *out_axes)
    if not _is_matrix(right, axes + 1, len(deep)):
        gathered = scratch("columns", right.shape, right.dtype)
        gathered[...] = right
        right = gathered
    first = axes + 1 + len(deep)
    right = right.reshape(*right.shape[: axes + 1], left.shape[-1], *right.shape[first:])
    grid = (*np.broadcast_shapes(x.shape[:axes], left.shape[:axes]), right.shape[axes])
    place = into.transpose(*lead, axes + 1, axes + 2, axes, *range(axes + 3, into.ndim))
    product = grouped_product(left, right, grid, left_rows=1, right_columns=1 + dims, into=place)
    if product is not place:
        place[...] = product


def _is_matrix(right: Array, lead: int, deep: int) -> bool:
    """Whether [*lead, *deep, *columns] is a stack of matrices as it lies."""
    rows, columns = slice(lead, lead + deep), slice(lead + deep, None)
    wide = merged(right.shape[columns], right.strides[columns])
    high = merged(right.shape[rows], right.strides[rows])
    return high is not None and wide is not None and right.itemsize in {high[1], wide[1]}


def _columns(x: Array, way: list[Phase]) -> Array:
    """A view of x with an axis for each output and each kernel element of a phase."""
    lead = x.ndim - len(way)
    kept, middle, shape = [slice(None)] * lead, [slice(None)] * lead, list(x.shape[:lead])
    for size, phase in zip(x.shape[lead:], way, strict=True):
        begin, end = phase.begin, phase.begin + phase.reach
        first = min(max(begin, 0), size)
        last = max(min(end, size), first)
        before = min(max(-begin, 0), phase.reach)
        kept.append(slice(first, last))
        middle.append(slice(before, before + last - first))
        shape.append(phase.reach)
    x = x[tuple(kept)]
    if x.shape != tuple(shape):
        padded = scratch("padded", tuple(shape), x.dtype)
        padded[...] = 0
        padded[tuple(middle)] = x
        x = padded
    steps = x.strides[lead:]
    return np.lib.stride_tricks.as_strided(
        x,
        (*x.shape[:lead], *(phase.outs for phase in way), *(phase.kernel for phase in way)),
        (
            *x.strides[:lead],
            *(s * phase.stride for s, phase in zip(steps, way, strict=True)),
            *(s * phase.dilation for s, phase in zip(steps, way, strict=True)),
        ),
        writeable=False,
    )
