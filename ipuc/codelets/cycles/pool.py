"""Cycles of the pooling vertices of popnn, to the row piece of every worker.

Outputs of a block are cut into equal runs, one for each worker. For each row piece of its run a
worker goes through the kernel positions that meet an output there; a position whose input is
padding, or which a stride skips, costs nothing.

Source: PopLibs popnn PerformanceEstimation.hpp (the loops), PoolVertices.cpp (the worklists).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ipuc.codelets.define import Number, ceil_div, elements
from ipuc.target import Target

#: Worker cycles of an inner loop of n vectors: the first, and each further one.
LOOPS = {"max": (4, 3), "sum": (5, 3), "max gradient": (7, 5)}
#: Worker cycles before the first row, those of clearing the outputs apart.
START = {"max": 41, "sum": 42, "max gradient": 51}

#: The outputs of a block that one kernel position meets along a dimension: the first, one past the
#: last, and their distance. Numbers, or columns of them.
Meet = tuple[Number, Number, Number]


def forward_meets(
    size: Number, kernel: int, stride: int, dilation: int, pads: tuple[Number, Number]
) -> list[Meet]:
    """Which outputs each kernel position meets, going forward.

    Args:
        size: outputs of the block.
        kernel: kernel extent.
        stride: between outputs.
        dilation: between kernel positions.
        pads: elements of the block's reach that do not exist, before and after.
    """
    reach = (size - 1) * stride + (kernel - 1) * dilation + 1
    meets: list[Meet] = []
    for place in range(kernel):
        first = np.maximum(ceil_div(pads[0] - place * dilation, stride), 0)
        last = np.minimum((reach - pads[1] - 1 - place * dilation) // stride, size - 1)
        meets.append((first, last + 1, 1))
    return meets


def gradient_meets(
    size: Number, kernel: int, stride: int, dilation: int, lead: Number, outs: Number
) -> list[Meet]:
    """Which elements of the input each kernel position meets, going back.

    Args:
        size: elements of the block.
        kernel: kernel extent.
        stride: between outputs.
        dilation: between kernel positions.
        lead: first element, counted from where the first window begins.
        outs: outputs whose windows reach into the block.
    """
    meets: list[Meet] = []
    for place in range(kernel):
        window = np.maximum(ceil_div(lead - place * dilation, stride), 0)
        first = window * stride + place * dilation - lead
        last = np.minimum((outs - 1) * stride + place * dilation - lead, size - 1)
        meets.append((first, last + 1, stride))
    return meets


def all_meet(size: Number, kernel: int, stride: int = 1) -> list[Meet]:
    """Every output met at every kernel position: what popnn's planner takes for granted."""
    return [(0, size, stride)] * kernel


def pooling(
    target: Target,
    kind: str,
    *,
    batch: Number,
    sizes: Sequence[Number],
    meets: Sequence[Sequence[Meet]],
    groups: Number,
    vectors: Number,
) -> Any:
    """One pooling vertex.

    Args:
        target: the machine.
        kind: a key of `LOOPS`.
        batch: images.
        sizes: outputs along each field dimension, innermost last.
        meets: for each dimension and kernel position, the outputs that it meets.
        groups: groups of channels.
        vectors: 64-bit vectors in a group.
    """
    workers = target.worker_contexts
    *outer, width = (np.asarray(size) for size in sizes)
    first, more = LOOPS[kind]
    step = groups * vectors * more
    # a position of n outputs: set-up, then for each group its pointers and loops
    once = 23 + groups * (2 + vectors * (3 + first - more))
    once = once + (groups - 1) * (6 if kind == "max gradient" else 4)

    def row(begin: Any, end: Any) -> Any:
        """Worker cycles of a piece of a row, at one position of the outer dimensions."""
        total: Any = 0
        for meet in meets[-1]:
            count = _below(end, meet) - _below(begin, meet)
            total = total + np.where(count > 0, once + step * count, 0)
        return total

    combinations = list(itertools.product(*meets[:-1]))
    rows = batch * elements(tuple(outer))
    begin, end = _runs(rows * width, workers)
    wide = np.maximum(width, 1)
    top, bottom = begin // wide, np.maximum(end - 1, begin) // wide
    busy = end > begin
    head = _met_rows(top + 1, outer, combinations) - _met_rows(top, outer, combinations)
    time = head * row(begin - top * width, np.minimum(end - top * width, width))
    tail = _met_rows(bottom + 1, outer, combinations) - _met_rows(bottom, outer, combinations)
    time = time + np.where(bottom > top, tail * row(0, end - bottom * width), 0)
    middle = _met_rows(bottom, outer, combinations) - _met_rows(top + 1, outer, combinations)
    time = time + np.maximum(middle, 0) * row(0, width)
    time = np.where(busy, time + 15 * (bottom - top + 1), 0)
    clear = (4 + ceil_div(rows * width * vectors, workers)) * groups
    return 13 + workers * (START[kind] + clear + time.max(axis=0))


def vertex(
    target: Target,
    kind: str,
    *,
    batch: Number,
    channels: Number,
    group: Number,
    sizes: Sequence[Number],
    meets: Sequence[Sequence[Meet]],
    itemsize: int,
    apart: bool = False,
) -> Any:
    """One pooling vertex, told by its block of channels.

    Args:
        target: the machine.
        kind: a key of `LOOPS`.
        batch: images.
        channels: channels of the block.
        group: channels that lie together.
        sizes: as for `pooling`.
        meets: as for `pooling`.
        itemsize: bytes of an element.
        apart: windows neither overlap nor meet padding. Groups of channels, images and the two
            innermost dimensions are then read as one row, so that the inner loop is long.

    Source: PopLibs popnn Pooling.cpp, gatherDimsTransformIn, for `apart`.
    """
    groups = ceil_div(channels, group)
    vectors = ceil_div(np.minimum(group, channels), target.vector_width(itemsize))
    if not apart:
        return pooling(
            target, kind, batch=batch, sizes=sizes, meets=meets, groups=groups, vectors=vectors
        )
    *outer, row = sizes
    row = batch * groups * row
    if outer:
        row = row * outer[-1]
        outer[-1] = 1
    made = [*outer, row]
    whole = [all_meet(size, len(met)) for size, met in zip(made, meets, strict=True)]
    return pooling(target, kind, batch=1, sizes=made, meets=whole, groups=1, vectors=vectors)


def row_pieces(out: Sequence[int], kernel: Sequence[int], workers: int) -> int:
    """Most entries in the worklists of a vertex: one for each row piece and kernel position.

    Args:
        out: what it makes: [batch, channels, *field].
        kernel: window extents.
        workers: worker contexts.
    """
    rows = out[0] * math.prod(out[2:-1])
    return (rows + workers - 1) * math.prod(kernel)


def places(target: Target, outputs: Number, kernel: Sequence[int]) -> Any:
    """One vertex that looks for the place of the largest element of each window.

    Source: the pooling loop of PopLibs popnn with a compare and a select for each element; 6 cycles
    an element is our own estimate.
    """
    workers = target.worker_contexts
    return 13 + workers * (41 + ceil_div(outputs, workers) * elements(tuple(kernel)) * 6)


def _runs(total: Any, workers: int) -> tuple[Any, Any]:
    """First output and one past the last of each worker's run: [workers, ...]."""
    total = np.asarray(total)
    edges = np.arange(workers + 1).reshape(-1, *(1 for _ in range(total.ndim))) * total // workers
    return edges[:-1], edges[1:]


def _below(position: Any, meet: Meet) -> Any:
    """How many of the outputs that are met lie before a position."""
    first, end, step = meet
    inside = np.minimum(position, end) - first
    return np.maximum(ceil_div(inside, step), 0)


def _met_rows(rows: Any, sizes: Sequence[Any], combinations: Sequence[Sequence[Meet]]) -> Any:
    """Of the first rows of a block, how many are met, summed over outer kernel positions.

    Args:
        rows: number of rows, row-major over images and outer dimensions.
        sizes: of the outer dimensions.
        combinations: what is met along each of them, for each outer kernel position.
    """
    total: Any = 0
    for meets in combinations:
        counts = [_below(size, meet) for size, meet in zip(sizes, meets, strict=True)]
        images, rest = np.divmod(rows, np.maximum(elements(tuple(sizes)), 1))
        total = total + images * elements(tuple(counts))
        met: Any = 1
        for axis, meet in enumerate(meets):
            index, rest = np.divmod(rest, np.maximum(elements(tuple(sizes[axis + 1 :])), 1))
            before = _below(index, meet)
            total = total + met * before * elements(tuple(counts[axis + 1 :]))
            met = met * (_below(index + 1, meet) - before)
    return total
