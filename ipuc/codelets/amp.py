"""What the vertices of the matrix unit have in common: batched products and worker time."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np

from ipuc.codelets.define import Array, Number
from ipuc.codelets.threads import multiply


def shared_axes(operand: Array, axes: int) -> list[bool]:
    """For each leading grid axis, whether all its positions see the same elements."""
    return [operand.strides[a] == 0 or operand.shape[a] == 1 for a in range(axes)]


def first_of_shared(operand: Array, shared: list[bool]) -> Array:
    """Keep one position of every shared grid axis (extent 1), so nothing is computed twice."""
    return operand[tuple(slice(0, 1) if s else slice(None) for s in shared)]


def grouped_product(
    left: Array,
    right: Array,
    grid: tuple[int, ...],
    *,
    left_rows: int,
    right_columns: int,
    into: Array | None = None,
) -> Array:
    """Products of all vertices of a family, as few large matrix products.

    A grid axis that only the left operand depends on becomes rows, one that only the right
    operand depends on becomes columns; the others are a batch.

    Args:
        left: [*grid, rows..., depth], shared axes of stride 0 or extent 1.
        right: [*grid, depth, columns...], likewise.
        grid: the family's grid.
        left_rows: number of row axes.
        right_columns: number of column axes.
        into: memory of the result's shape, which is filled where the layout of its rows and
            columns allows.

    Returns:
        [*grid, rows..., columns...], where axes shared by both operands have extent 1; `into`
        itself if that was filled.
    """
    axes = len(grid)
    left_shared, right_shared = shared_axes(left, axes), shared_axes(right, axes)
    left, right = first_of_shared(left, left_shared), first_of_shared(right, right_shared)
    pairs = list(zip(left_shared, right_shared, strict=True))
    batch = [a for a, (ls, rs) in enumerate(pairs) if ls == rs]
    rows = [a for a, (ls, rs) in enumerate(pairs) if rs and not ls]
    columns = [a for a, (ls, rs) in enumerate(pairs) if ls and not rs]
    row_axes = [*rows, *range(axes, axes + left_rows)]
    column_axes = [*columns, *range(axes + 1, axes + 1 + right_columns)]
    depth = axes + left_rows
    ordered_left = left.transpose(*batch, *row_axes, depth, *columns)
    ordered_right = right.transpose(*batch, axes, *column_axes, *rows)
    batch_shape = tuple(np.broadcast_shapes((left.shape[a],), (right.shape[a],))[0] for a in batch)
    row_shape = tuple(left.shape[a] for a in row_axes)
    column_shape = tuple(right.shape[a] for a in column_axes)
    k = left.shape[depth]
    a_matrix = ordered_left.reshape(*(left.shape[a] for a in batch), int(np.prod(row_shape)), k)
    b_matrix = ordered_right.reshape(
        *(right.shape[a] for a in batch), k, int(np.prod(column_shape))
    )
    # back to grid order, then rows, then columns
    position = {a: i for i, a in enumerate([*batch, *rows])}
    for i, a in enumerate(columns):
        position[a] = len(batch) + len(row_axes) + i
    order = [position[a] for a in range(axes)]
    order += range(len(batch) + len(rows), len(batch) + len(row_axes))
    order += range(len(batch) + len(row_axes) + len(columns), len(position) + left_rows)
    order += range(len(order), len(order) + right_columns)
    shape = (*batch_shape, *row_shape, *column_shape)
    if into is not None:
        ordered = into.transpose(np.argsort(order))
        place = (
            _as_matrices(ordered, len(batch), len(row_shape)) if ordered.shape == shape else None
        )
        if place is not None:
            multiply(a_matrix, b_matrix, out=place)
            return into
    result: Array = multiply(a_matrix, b_matrix).reshape(shape).transpose(order)
    return result


def _as_matrices(array: Array, batch: int, rows: int) -> Array | None:
    """View [*batch, rows..., columns...] as [*batch, rows, columns]; None if no view can.

    Columns lie one after another, and rows do not overlap: what matrix libraries fill.
    """
    sizes, steps = array.shape, array.strides
    high = merged(sizes[batch : batch + rows], steps[batch : batch + rows])
    wide = merged(sizes[batch + rows :], steps[batch + rows :])
    if high is None or wide is None or wide[1] != array.itemsize:
        return None
    if high[0] > 1 and high[1] < wide[0] * wide[1]:
        return None
    return np.lib.stride_tricks.as_strided(
        array, (*sizes[:batch], high[0], wide[0]), (*steps[:batch], high[1], wide[1])
    )


def merged(sizes: tuple[int, ...], steps: tuple[int, ...]) -> tuple[int, int] | None:
    """Extent and step of several axes as one; None if they are not one."""
    dims = [(n, s) for n, s in zip(sizes, steps, strict=True) if n != 1]
    if any(outer[1] != inner[0] * inner[1] for outer, inner in itertools.pairwise(dims)):
        return None
    return math.prod(sizes), dims[-1][1] if dims else 4


def worker_runs(rows: Number, width: Number, workers: int) -> tuple[Any, Any, Any]:
    """Cut rows x width outputs into equal runs, one per worker.

    Returns:
        Arrays [workers, ...] (broadcast over the columns of a planner's table): row pieces of
        each worker's run, outputs in its first piece, outputs in its last piece (0 if one).

    Source: PopLibs ConvUtilInternal.cpp, partitionConvPartialByWorker.
    """
    total = np.asarray(rows * width)
    index = np.arange(workers + 1).reshape(-1, *(1 for _ in range(total.ndim)))
    edges = index * total // workers
    begin, end = edges[:-1], edges[1:]
    wide = np.maximum(np.asarray(width), 1)
    empty = end <= begin
    last = np.maximum(end - 1, begin)
    pieces = np.where(empty, 0, last // wide - begin // wide + 1)
    head = np.where(empty, 0, np.minimum(end, (begin // wide + 1) * wide) - begin)
    tail = np.where(pieces > 1, end - last // wide * wide, 0)
    return pieces, head, tail


def row_time(rows: Number, width: Number, workers: int, cost: Any) -> tuple[Any, Any]:
    """Slowest and quickest worker over its row pieces: (max, min) of the sum of cost(n).

    Args:
        rows: rows of outputs on the tile, all batches and groups of rows together.
        width: outputs in a row.
        workers: worker contexts.
        cost: worker cycles of a piece of n outputs, for arrays.
    """
    pieces, head, tail = worker_runs(rows, width, workers)
    wide = np.asarray(width)
    time = np.where(pieces > 0, cost(head), 0)
    time = time + np.where(pieces > 1, cost(tail), 0)
    time = time + np.maximum(pieces - 2, 0) * cost(wide)
    return time.max(axis=0), time.min(axis=0)


def as_cycles(value: Any) -> Any:
    """A Python int for one vertex, an int64 array for planner columns."""
    array = np.asarray(value)
    return int(array) if array.ndim == 0 else array.astype(np.int64)
