"""Matrix products on all cores, split by us instead of by the matrix library.

Inside the emulator the library runs on one thread (`ipuc.emulator.machine`). Its own threads wait
for each other by spinning at every product; on a busy machine one of the many small products of
a program then takes many times as long. Two or more coarse halves do not wait for each other.
"""

from __future__ import annotations

import itertools
import math
import os
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np

from ipuc.codelets.define import Array

#: Products with fewer multiply-adds than this are done before a second thread has woken up.
WORTH_SPLITTING = 1 << 23


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def _pool(workers: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(workers, thread_name_prefix="ipuc-product")


def multiply(left: Array, right: Array, out: Array | None = None) -> Array:
    """numpy.matmul of matrices or stacks of them, in as many parts as there are cores.

    Args:
        left: [*batch, m, k].
        right: [*batch, k, n].
        out: where to write; a new array by default.

    Returns:
        [*batch, m, n]. Every element is one dot product, whatever the parts.
    """
    batch = np.broadcast_shapes(left.shape[:-2], right.shape[:-2])
    shape = (*batch, left.shape[-2], right.shape[-1])
    workers = cores()
    work = math.prod(shape) * left.shape[-1]
    if workers == 1 or work < WORTH_SPLITTING:
        return np.matmul(left, right, out=out)
    made = np.empty(shape, np.result_type(left, right)) if out is None else out
    axis = _widest(shape)
    begins = np.arange(workers + 1) * shape[axis] // workers
    parts = [
        (
            _cut(left, axis, len(shape), begin, end, 2),
            _cut(right, axis, len(shape), begin, end, 1),
            made[(slice(None),) * axis + (slice(begin, end),)],
        )
        for begin, end in itertools.pairwise(begins)
        if begin < end
    ]
    list(_pool(workers).map(lambda part: np.matmul(part[0], part[1], out=part[2]), parts))
    return made


def _widest(shape: tuple[int, ...]) -> int:
    """A batch axis if one is long enough to share out evenly, else the longer of rows, columns."""
    *batch, rows, columns = shape
    if batch and max(batch) >= 4:
        return int(np.argmax(batch))
    return len(batch) + int(columns > rows)


def _cut(operand: Array, axis: int, rank: int, begin: int, end: int, own: int) -> Array:
    """The part of an operand that rows, columns or a batch `begin` to `end` of the result need.

    Args:
        operand: left or right.
        axis: axis of the result that is cut.
        rank: axes of the result.
        begin: first index.
        end: one past the last.
        own: the operand's axis, counted from the end, that the result keeps: 2 left, 1 right.
    """
    from_end = rank - axis
    if from_end <= 2 and from_end != own:
        return operand
    if from_end > operand.ndim or operand.shape[-from_end] == 1:
        return operand
    index: list[slice] = [slice(None)] * operand.ndim
    index[-from_end] = slice(begin, end)
    return operand[tuple(index)]
