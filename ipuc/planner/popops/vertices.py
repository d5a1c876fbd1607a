"""Reductions of one compute set become vertices: shared out to workers, cut by rows, added."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ipuc.codelets.reduce import Reduce
from ipuc.planner.context import Context
from ipuc.planner.popops.partials import Pieces
from ipuc.program.builder import ComputeSetBuilder
from ipuc.program.family import Access, separable
from ipuc.target import Target
from ipuc.types import Ints

#: Layouts of an operand, as `codelets.reduce` names them, by their number here. The last has no
#: vertex: the rows of each output lie together in blocks, block beside block, for `cut_blocks`.
LAYOUTS = ("strided", "continuous", "default", "scalar")
STRIDED, CONTINUOUS, DEFAULT, SCALAR, BLOCKS = range(len(LAYOUTS) + 1)
#: Operations that popops has vector code for wherever rows are whole vectors.
VECTORED = ("sum", "max", "min")
#: What popops assumes that a vertex costs a worker beside its loop, when it decides on splits.
OVERHEAD = 30


@dataclass(frozen=True, slots=True)
class Operation:
    """What the vertices of one compute set do.

    Attributes:
        op: a key of `codelets.reduce.KINDS`.
        square: square each element first.
        reads: element type of the operand.
        writes: element type of the result.
    """

    op: str
    square: bool
    reads: str
    writes: str

    def codelet(self, axes: int, layout: int) -> Reduce:
        """The vertex type for an operand of so many row axes."""
        partials = "" if self.reads == self.writes else self.reads
        return Reduce(self.op, axes, self.square, partials, LAYOUTS[layout])

    def layouts(self, target: Target, pieces: Pieces) -> NDArray[np.int8]:
        """Which vertex each reduction takes."""
        if not self.reads.startswith("float"):
            return np.full(len(pieces), SCALAR, np.int8)
        vector = _vector(target, self.reads)
        rows, steps = pieces.rows, pieces.row_steps
        together = (steps[:, -1] == 1) & (rows[:, -1] > 1)
        whole = (rows == 1) | (steps % vector == 0)
        aligned = whole.all(axis=1) & (pieces.width % vector == 0) & (pieces.source % vector == 0)
        found = np.full(len(pieces), DEFAULT, np.int8)
        if self.op in VECTORED:
            found[aligned & (pieces.column_step == 1)] = STRIDED
            found[together & (pieces.depth == rows[:, -1])] = CONTINUOUS
            found[together & (pieces.depth > rows[:, -1]) & (pieces.column_step == rows[:, -1])] = (
                BLOCKS
            )
        return found

    def grain(self, target: Target) -> int:
        """Columns that stay together where work is shared out."""
        return _vector(target, self.reads) * (2 if self.op == "sum" else 1)


def _vector(target: Target, dtype: str) -> int:
    return target.vector_width(np.dtype(dtype).itemsize)


def for_workers(target: Target, operation: Operation, pieces: Pieces) -> Pieces:
    """Cut the reductions of every tile by columns, so that its workers have a share each.

    Source: popops splitOutputRegionsForWorkers: equal shares of grains, regions never joined.
    """
    layouts = operation.layouts(target, pieces)
    grain = np.full(len(pieces), operation.grain(target))
    grain[layouts == CONTINUOUS] = 1
    blocks = layouts == BLOCKS
    # A block of rows that lie together counts as that many columns.
    grain[blocks] = np.maximum(1, -(-grain[blocks] // pieces.rows[blocks, -1]))
    count = -(-pieces.width // grain)
    total = np.bincount(pieces.tile, weights=count).astype(np.int64)
    share = np.maximum(1, -(-total // target.worker_contexts))
    return pieces.cut_columns(-(-count // share[pieces.tile]), grain)


def row_splits(target: Target, operation: Operation, pieces: Pieces) -> Ints:
    """Into how many each reduction is cut by rows, for workers that would else have nothing to do.

    Source: popops splitTwoStageReductionsBetweenWorkers: always the slowest reduction of a tile,
    if it gets faster by its own rough estimate; nothing if the slowest gets no faster in the end.
    """
    splits = np.ones(len(pieces), np.int64)
    if operation.op not in VECTORED or not operation.reads.startswith("float"):
        return splits
    layouts = operation.layouts(target, pieces)
    longest = pieces.rows.max(axis=1)
    work = -(-pieces.width * pieces.depth // _per_cycle(target, operation, pieces.width))
    alone = work + OVERHEAD
    most = np.minimum(longest // 2, alone // 4)
    most[(layouts == BLOCKS) | ((layouts == CONTINUOUS) & (pieces.width > 1))] = 0
    cost = alone.copy()
    free = target.worker_contexts - np.bincount(pieces.tile)
    going = free > 0
    for _ in range(target.worker_contexts - 1):
        slowest = _slowest(pieces.tile, cost)
        slowest = slowest[going[pieces.tile[slowest]]]
        after = 2 * OVERHEAD + work[slowest] // (splits[slowest] + 1)
        better = (splits[slowest] + 1 < most[slowest]) & (after < cost[slowest])
        chosen = slowest[better]
        if not len(chosen):
            break
        splits[chosen] += 1
        cost[chosen] = after[better]
        free[pieces.tile[chosen]] -= 1
        going[:] = False
        going[pieces.tile[chosen]] = free[pieces.tile[chosen]] > 0
    before, now = np.zeros((2, len(free)), np.int64)
    np.maximum.at(before, pieces.tile, alone)
    np.maximum.at(now, pieces.tile, cost)
    splits[(before == now)[pieces.tile]] = 1
    return splits


def _per_cycle(target: Target, operation: Operation, width: Ints) -> Ints:
    """Elements that popops expects a worker to combine in a cycle."""
    vector = _vector(target, operation.writes) * (2 if operation.op == "sum" else 1)
    whole = np.minimum(width & -width, vector)
    return np.where((width <= vector) & (whole == width), vector, whole)


def _slowest(tile: Ints, cost: Ints) -> Ints:
    """Number of the dearest entry of every tile, the first of equal ones."""
    order = np.lexsort((np.arange(len(tile)), -cost, tile))
    opens = np.ones(len(order), bool)
    opens[1:] = tile[order][1:] != tile[order][:-1]
    return order[opens]


def cut_blocks(pieces: Pieces) -> tuple[Pieces, Pieces, int]:
    """Combine blocks of rows with each other first, then what is left of each, row by row.

    Source: popops connectSmallInnerFactorReductions.

    Returns:
        What `cut_rows` does.
    """
    inner = pieces.rows[:, -1]
    width = pieces.width * inner
    base = np.cumsum(width) - width
    first = pieces.take(
        slice(None),
        into=base,
        width=width,
        column_step=np.ones_like(width),
        rows=pieces.rows[:, :-1],
        row_steps=pieces.row_steps[:, :-1],
    )
    ones = np.ones_like(width)[:, None]
    second = Pieces(pieces.tile, base, pieces.into, pieces.width, inner[:, None], inner, ones)
    return first, second, int(width.sum())


def cut_rows(
    target: Target, operation: Operation, pieces: Pieces, parts: Ints
) -> tuple[Pieces, Pieces, int]:
    """Cut reductions by rows into `parts` each, and say how the parts are combined.

    Returns:
        The parts, which write one after another; the reductions that combine them, operand and
        result of which are counted from the same begins; and how many elements lie between.
    """
    axis = pieces.rows.argmax(axis=1)
    every = np.arange(len(pieces))
    extent, step = pieces.rows[every, axis], pieces.row_steps[every, axis]
    grain = np.where((step == 1) & (pieces.width == 1), _vector(target, operation.reads), 1)
    count = -(-extent // grain)
    parts = np.minimum(parts, np.maximum(1, count // 2))
    parts = -(-count // -(-count // parts))
    size = parts * pieces.width
    base = np.cumsum(size) - size
    source = np.repeat(every, parts)
    number = np.arange(len(source)) - np.repeat(np.cumsum(parts) - parts, parts)
    low, high = (
        np.minimum((number + k) * count[source] // parts[source] * grain[source], extent[source])
        for k in (0, 1)
    )
    rows = pieces.rows[source]
    rows[np.arange(len(source)), axis[source]] = high - low
    first = pieces.take(
        source,
        source=pieces.source[source] + low * step[source],
        into=base[source] + number * pieces.width[source],
        rows=rows,
    )
    second = Pieces(
        pieces.tile,
        base,
        pieces.into,
        pieces.width,
        parts[:, None],
        np.ones_like(base),
        pieces.width[:, None],
    )
    return first, second, int(size.sum())


@dataclass(frozen=True, slots=True)
class Work:
    """Reductions of one operand into one result: variables by id."""

    operation: Operation
    operand: int
    result: int
    pieces: Pieces


def add(ctx: Context, name: str, works: Sequence[Work]) -> Ints:
    """Add a compute set of reductions, each for one worker.

    Returns:
        Cycles of each tile: int64[tiles].
    """
    dealt: list[tuple[Ints, Ints]] = []
    with ctx.builder.compute_set(name) as compute_set:
        compute_set.workers = "one"
        for work in works:
            dealt += _add(ctx.target, compute_set, work)
    tile, cycles = (np.concatenate(column) for column in zip(*dealt, strict=True))
    return ctx.target.worker_contexts * _busiest(ctx.target, tile, cycles)


def _add(target: Target, compute_set: ComputeSetBuilder, work: Work) -> list[tuple[Ints, Ints]]:
    """Add a family for each shape; gives the tiles and cycles of its vertices in order."""
    pieces, operation = work.pieces, work.operation
    alone, axes = replace(target, worker_contexts=1), pieces.rows.shape[1]
    layouts = operation.layouts(target, pieces)
    shapes = np.column_stack(
        [layouts, pieces.width, pieces.column_step, pieces.rows, pieces.row_steps]
    )
    kinds, kind = np.unique(shapes, axis=0, return_inverse=True)
    order = np.argsort(kind.reshape(-1), kind="stable")
    groups = np.split(order, np.cumsum(np.bincount(kind.reshape(-1)))[:-1])
    dealt: list[tuple[Ints, Ints]] = []
    for shape, chosen in zip(kinds.tolist(), groups, strict=True):
        codelet = operation.codelet(axes, shape[0])
        window, steps = (shape[1], *shape[3 : 3 + axes]), (shape[2], *shape[3 + axes :])
        part = pieces.take(chosen)
        family = compute_set.add(
            codelet,
            separable(0, part.tile),
            x=Access(work.operand, separable(0, part.source), window, steps),
            out=Access(work.result, separable(0, part.into), (shape[1],), (1,)),
        )
        cycles = codelet.cycles(alone, family.windows(), np.dtype(operation.writes).itemsize)
        dealt.append((part.tile, np.full(len(chosen), cycles)))
    return dealt


def _busiest(target: Target, tile: Ints, cycles: Ints) -> Ints:
    """Most cycles of any worker of each tile: vertices are dealt out to its workers in turn."""
    order = np.argsort(tile, kind="stable")
    count = np.bincount(tile)
    place = np.arange(len(order)) - np.repeat(np.cumsum(count) - count, count)
    workers = target.worker_contexts
    worker = tile[order] * workers + place % workers
    each = np.bincount(worker, weights=cycles[order], minlength=target.tiles * workers)
    slowest: Ints = each.astype(np.int64).reshape(target.tiles, workers).max(axis=1)
    return slowest


def received(target: Target, pieces: Pieces, tiles: Ints, itemsize: int) -> int:
    """Cycles of the exchange before a compute set in which every element is read once.

    Args:
        target: the machine.
        pieces: its reductions, of one axis of rows.
        tiles: tile of every element of the operand.
        itemsize: bytes of an element.
    """
    size = pieces.width * pieces.depth
    owner = np.repeat(np.arange(len(pieces)), size)
    number = np.arange(len(owner)) - np.repeat(np.cumsum(size) - size, size)
    row, column = np.divmod(number, pieces.width[owner])
    element = pieces.source[owner] + row * pieces.row_steps[owner, 0]
    sender = tiles[element + column * pieces.column_step[owner]]
    receiver = pieces.tile[owner]
    remote = sender != receiver
    most = max(int(np.bincount(side[remote], minlength=1).max()) for side in (sender, receiver))
    return -(-most * itemsize // target.exchange_bytes_per_cycle)


def busy(values: Any) -> int:
    """Number of distinct tiles."""
    return len(np.unique(values))
