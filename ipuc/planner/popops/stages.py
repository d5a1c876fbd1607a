"""A reduction in popops' stages: what a tile holds, then between tiles, then where the result is.

Source: PopLibs popops Reduction.cpp, ReductionPlan.cpp, ReductionStages.cpp.
"""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass, field, replace

import numpy as np

from ipuc.planner.context import Context
from ipuc.planner.popops.holdings import Holdings
from ipuc.planner.popops.partials import Partials, Pieces, grouped, packed
from ipuc.planner.popops.vertices import (
    BLOCKS,
    Operation,
    Work,
    add,
    busy,
    cut_blocks,
    cut_rows,
    for_workers,
    received,
    row_splits,
)
from ipuc.program.split import balanced_parts, bounds
from ipuc.program.tensor import Tensor
from ipuc.types import Ints, Shape

#: Values for each output up to which the last stage takes them all, and least values that a tile
#: combines in a stage before.
MOST_VALUES = 64


@dataclass(frozen=True, slots=True)
class Operand:
    """What is reduced: one strided view.

    Attributes:
        variable: id of the variable.
        dtype: of its elements.
        offset: the first element.
        extents: of columns, then of rows; those of the rows with the largest stride first.
        strides: one for each.
        kept: number of axes of columns.
        tiles: tile of every element of the variable.
    """

    variable: int
    dtype: str
    offset: int
    extents: Shape
    strides: tuple[int, ...]
    kept: int
    tiles: Ints

    def column(self, column: Ints) -> Ints:
        """Element at the first row of each column."""
        index = np.unravel_index(column, self.extents[: self.kept])
        element: Ints = self.offset + np.stack(index, axis=-1) @ np.asarray(
            self.strides[: self.kept], np.int64
        )
        return element

    def untouched(self, columns: int) -> Partials:
        """The operand itself as partial results: rows of one axis."""
        inner = self.extents[self.kept - 1]
        first = np.arange(0, columns, inner)
        same = np.ones_like(first)
        return Partials(
            self.variable,
            self.dtype,
            first,
            inner * same,
            self.extents[-1] * same,
            self.column(first),
            self.strides[self.kept - 1] * same,
            self.strides[-1] * same,
            self.tiles,
        )


@dataclass(slots=True)
class Reduction:
    """One reduction being lowered.

    Attributes:
        ctx: the lowering.
        name: of the result.
        op: a key of `codelets.reduce.KINDS`.
        square: the first stage squares what it reads.
        accumulates: element type of partial results.
        out: the result, one element for each column.
        costs: cycles by item.
        tiles: tiles that each stage uses.
        work: cycles of each tile, all stages together: int64[tiles].
    """

    ctx: Context
    name: str
    op: str
    square: bool
    accumulates: str
    out: Tensor
    costs: dict[str, int] = field(default_factory=dict)
    tiles: dict[str, int] = field(default_factory=dict)
    work: Ints = field(default_factory=lambda: np.zeros(1, np.int64))

    def run(self, operand: Operand, held: Holdings) -> bool:
        """Add all stages.

        Args:
            operand: what is reduced.
            held: what each tile holds of it.

        Returns:
            False if nothing was added, as the operand cannot be read without a first stage on
            the tiles, and a first stage would combine nothing.
        """
        local = int(held.depth.max()) == 1
        if local or held.reduces:
            left = self._on_tile(operand, held, local=local)
            if left is None:
                return True
        elif held.rows.shape[1] == 1:
            left = operand.untouched(len(held.depth))
        else:
            return False
        start = zlib.crc32(repr(operand.extents).encode()) % self.ctx.target.tiles
        stage = 0
        while not self._last(left):
            stage += 1
            left = self._between(left, start, f"stage {stage}")
        self._final(left)
        return True

    def note(self) -> None:
        """Write the decision into the plan of the layer, beside its other reductions."""
        plan = self.ctx.plan
        chosen = plan.setdefault("chosen", {"splits": {}, "balance": 0.0, "costs": {}})
        plan.setdefault("candidates", 1)
        splits, costs = chosen["splits"], chosen["costs"]
        for item, cycles in self.costs.items():
            costs[item] = costs.get(item, 0) + cycles
        for stage, tiles in self.tiles.items():
            splits[stage] = max(splits.get(stage, 0), tiles)
        balance = round(float(self.work.max() / self.work.mean()), 4)
        chosen["balance"] = max(chosen["balance"], balance)
        chosen["tiles"] = max(splits.values())
        chosen["cycles"] = sum(costs.values())

    def _on_tile(self, operand: Operand, held: Holdings, *, local: bool) -> Partials | None:
        """Combine what each tile holds; None if that was all."""
        steps = np.asarray(operand.strides[operand.kept :], np.int64)
        pieces = Pieces(
            held.tile,
            operand.column(held.column) + held.begin @ steps,
            held.column,
            held.width,
            held.rows,
            np.full(len(held.tile), operand.strides[operand.kept - 1]),
            np.broadcast_to(steps, held.rows.shape),
        )
        if local:
            operation = Operation(self.op, self.square, operand.dtype, self.out.dtype)
            self._add("on tile", operation, operand.variable, self.result, pieces)
            return None
        columns = np.arange(len(held.depth))
        groups = grouped(columns, np.ones_like(columns), held.depth)
        left = self._partials("on tile", *groups)
        pieces = pieces.take(slice(None), into=left.element(held.column, held.rank))
        left.place(pieces)
        operation = Operation(self.op, self.square, operand.dtype, self.accumulates)
        self._add("on tile", operation, operand.variable, left.variable, pieces)
        self.square = False
        return left

    def _last(self, left: Partials) -> bool:
        """Whether the next stage is the last one."""
        tiles = self.ctx.target.tiles
        few = left.rows.max() < 2 * math.sqrt(tiles) and busy(left.tiles) > tiles * 3 // 4
        return bool(few or left.count <= MOST_VALUES * self.out.size)

    def _between(self, left: Partials, start: int, stage: str) -> Partials:
        """Combine some rows of each column, on tiles in turn."""
        target = self.ctx.target
        operation = Operation(self.op, self.square, left.dtype, self.accumulates)
        grain = operation.grain(target)
        count = -(-left.width // grain)
        share = -(-int(count.sum()) // target.tiles)
        parts = -(-count // share)
        runs = left.pieces(
            np.zeros_like(left.first), left.first, left.width, 0 * left.rows, left.rows
        ).cut_columns(parts, np.full(len(count), grain))
        column, width, depth = runs.into, runs.width, runs.depth
        ideal = max(1, left.count // target.tiles)
        chunks = np.maximum(1, depth * width // ideal)
        small = depth * width // chunks < MOST_VALUES
        chunks = np.where(small, np.maximum(1, depth * width // MOST_VALUES), chunks)
        chunks = np.where(depth // chunks < 2, np.maximum(1, depth // 2), chunks)
        each = np.maximum(2, -(-depth // chunks))
        chunks = -(-depth // each)
        which = np.repeat(np.arange(len(chunks)), chunks)
        number = np.arange(len(which)) - np.repeat(np.cumsum(chunks) - chunks, chunks)
        row = number * each[which]
        rows = np.minimum(each[which], depth[which] - row)
        tile = (start + np.arange(len(which))) % target.tiles
        pieces = left.pieces(tile, column[which], width[which], row, rows)
        after = self._partials(stage, *grouped(column, width, chunks))
        pieces = pieces.take(slice(None), into=after.element(column[which], number))
        after.place(pieces)
        self._exchange(stage, left, pieces)
        self._add(stage, operation, left.variable, after.variable, pieces)
        self.square = False
        return after

    def _final(self, left: Partials) -> None:
        """Combine the rest where the result lies: spread over the tiles in order."""
        target, size = self.ctx.target, self.out.size
        vector = target.vector_width(left.itemsize)
        edges = bounds(size, balanced_parts(size, target.tiles, vector, 4 * vector), vector)
        cuts = np.union1d(edges, left.first)
        column, width = cuts[:-1], np.diff(cuts)
        tile = np.searchsorted(edges, column, side="right") - 1
        pieces = left.pieces(tile, column, width, 0 * column, left.rows[left.group(column)])
        self._exchange("final", left, pieces)
        operation = Operation(self.op, self.square, left.dtype, self.out.dtype)
        self._add("final", operation, left.variable, self.result, pieces)

    @property
    def result(self) -> int:
        """Id of the variable that holds the result."""
        return self.ctx.builder.one_view(self.out).variable

    def _partials(self, stage: str, first: Ints, width: Ints, rows: Ints) -> Partials:
        size = int((width * rows).sum())
        made = self.ctx.builder.variable(f"{self.name} {stage} partials", self.accumulates, (size,))
        id_ = self.ctx.builder.one_view(made).variable
        return packed(id_, self.accumulates, first, width, rows)

    def _exchange(self, stage: str, left: Partials, pieces: Pieces) -> None:
        cycles = received(self.ctx.target, pieces, left.tiles, left.itemsize)
        self._charge(f"{stage} exchange", cycles)
        self._charge("sync", self.ctx.target.sync_cycles * (cycles > 0))

    def _add(
        self, stage: str, operation: Operation, operand: int, result: int, pieces: Pieces
    ) -> None:
        """Add the vertices of a stage: one compute set, or two where a tile adds in two steps."""
        target = self.ctx.target
        pieces = for_workers(target, operation, pieces)
        splits = row_splits(target, operation, pieces)
        blocks = operation.layouts(target, pieces) == BLOCKS
        works = [Work(operation, operand, result, pieces.take((splits == 1) & ~blocks))]
        again: list[Work] = []
        cuts: list[tuple[Pieces, Pieces, int]] = []
        if (splits > 1).any():
            shared = pieces.take(splits > 1)
            cuts.append(cut_rows(target, operation, shared, splits[splits > 1]))
        if blocks.any():
            cuts.append(cut_blocks(pieces.take(blocks)))
        for first, second, size in cuts:
            made = self.ctx.builder.variable(
                f"{self.name} {stage} shares", self.accumulates, (size,)
            )
            id_ = self.ctx.builder.one_view(made).variable
            works.append(Work(replace(operation, writes=self.accumulates), operand, id_, first))
            joining = Operation(self.op, False, self.accumulates, operation.writes)
            again.append(Work(joining, id_, result, second))
        self.tiles[stage] = busy(pieces.tile)
        for suffix, listed in (("", works), (" shares", again)):
            some = [work for work in listed if len(work.pieces)]
            if some:
                cycles = add(self.ctx, f"{self.name} {stage}{suffix}", some)
                self.work = self.work + cycles
                self._charge(f"{stage}{suffix} compute", int(cycles.max()))
                self._charge("sync", self.ctx.target.sync_cycles)

    def _charge(self, item: str, cycles: int) -> None:
        self.costs[item] = self.costs.get(item, 0) + int(cycles)
