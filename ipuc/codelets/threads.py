"""Array work on all cores, split by us instead of by the matrix library.

Inside the emulator the library runs on one thread (`ipuc.emulator.machine`). Its own threads wait
for each other by spinning at every product; on a busy machine one of the many small products of
a program then takes many times as long. Two or more coarse halves do not wait for each other.
"""

from __future__ import annotations

import itertools
import math
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import cache
from typing import Any

import numpy as np

from ipuc.codelets.define import Array
from ipuc.types import Shape

#: Work on arrays that nobody waits for until `Crew.finish`.
Task = Callable[[], None]
#: Products with fewer multiply-adds than this are done before a second thread has woken up.
WORTH_SPLITTING = 1 << 23


class _Mine(threading.local):
    """What each thread has of its own: scratch memory, and whether it is at a task."""

    def __init__(self) -> None:
        self.blocks: dict[str, Array] = {}
        self.at_task = False


_mine = _Mine()


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def _pool(workers: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(workers, "ipuc-product")


class Crew:
    """Runs tasks on all cores while the caller prepares the next ones, and then helps.

    Tasks must not depend on each other, nor write what another one reads.
    """

    def __init__(self) -> None:
        self._started: list[tuple[Future[None], Task]] = []

    def start(self, task: Task) -> None:
        """Begin a task, or do it at once where there is one core only."""
        if cores() == 1:
            _run(task)
        else:
            self._started.append((_pool(cores() - 1).submit(_run, task), task))

    def finish(self) -> None:
        """See all tasks done; an error of one of them is raised here."""
        started, self._started = self._started, []
        try:
            # From the other end, where no worker has been yet.
            for future, task in reversed(started):
                if future.cancel():
                    _run(task)
        finally:
            running = [future for future, _ in started if not future.cancelled()]
            wait(running)
        for future in running:
            future.result()


def _run(task: Task) -> None:
    outer, _mine.at_task = _mine.at_task, True
    try:
        # Each thread has floating point warnings of its own; a vertex has none.
        with np.errstate(all="ignore"):
            task()
    finally:
        _mine.at_task = outer


def scratch(use: str, shape: Shape, dtype: np.dtype[Any]) -> Array:
    """Memory with anything in it.

    In a task it is this thread's for each use, until the next call, so that its pages stay in the
    cache; elsewhere it is new.
    """
    wanted = math.prod(shape) * dtype.itemsize
    if not _mine.at_task:
        return np.empty(shape, dtype)
    if use not in _mine.blocks or _mine.blocks[use].size < wanted:
        _mine.blocks[use] = np.empty(wanted, np.uint8)
    made: Array = _mine.blocks[use][:wanted].view(dtype).reshape(shape)
    return made


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
    if workers == 1 or work < WORTH_SPLITTING or _mine.at_task:
        return np.matmul(left, right, out=out)
    made = np.empty(shape, np.result_type(left, right)) if out is None else out
    axis = _widest(shape)
    begins = np.arange(workers + 1) * shape[axis] // workers
    crew = Crew()
    for begin, end in itertools.pairwise(begins):
        if begin < end:
            part = _part(left, right, made, axis, slice(int(begin), int(end)))
            crew.start(part)
    crew.finish()
    return made


def _part(left: Array, right: Array, made: Array, axis: int, part: slice) -> Task:
    """The product of a part of the rows, the columns or a batch."""
    mine = _cut(left, axis, made.ndim, part, 2)
    other = _cut(right, axis, made.ndim, part, 1)
    place = made[(slice(None),) * axis + (part,)]

    def task() -> None:
        np.matmul(mine, other, out=place)

    return task


def _widest(shape: tuple[int, ...]) -> int:
    """A batch axis if one is long enough to share out evenly, else the longer of rows, columns."""
    *batch, rows, columns = shape
    if batch and max(batch) >= 4:
        return int(np.argmax(batch))
    return len(batch) + int(columns > rows)


def _cut(operand: Array, axis: int, rank: int, part: slice, own: int) -> Array:
    """The part of an operand that some rows, columns or a batch of the result need.

    Args:
        operand: left or right.
        axis: axis of the result that is cut.
        rank: axes of the result.
        part: the rows, columns, or positions of a batch axis.
        own: the operand's axis, counted from the end, that the result keeps: 2 left, 1 right.
    """
    from_end = rank - axis
    if from_end <= 2 and from_end != own:
        return operand
    if from_end > operand.ndim or operand.shape[-from_end] == 1:
        return operand
    index: list[slice] = [slice(None)] * operand.ndim
    index[-from_end] = part
    return operand[tuple(index)]
