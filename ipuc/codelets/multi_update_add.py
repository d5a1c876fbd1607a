"""MultiUpdateAdd: add rows to those of a table, by indices that only the run knows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ipuc.codelets.define import (
    Array,
    Batch,
    Codelet,
    Example,
    FieldSpec,
    In,
    InOut,
    Number,
    ceil_div,
    elements,
)
from ipuc.errors import ValueRangeError
from ipuc.target import Target
from ipuc.types import Shape


@dataclass(frozen=True)
class MultiUpdateAdd(Codelet):
    """base[offsets[i] - first] += updates[i] for each i in turn, where this vertex has that row.

    base: [rows, *slice]; offsets: [n], int32; updates: [n, *slice]. Rows are numbered from the
    front of the whole table, or from its end by negative numbers.

    Attributes:
        first: number of the first row that these vertices hold.
        total: rows of the whole table; 0 if these vertices hold all of it.

    Source: PopLibs popops PerformanceEstimation.cpp, without a factor: W * (32 + in * (11 + 3 *
    (e * bytes / 4 - 1)) + out * 5) in float32, 33 and 13 in half; e elements of a slice, `in` and
    `out` the offsets that hit and miss a worker's share of the rows: every worker reads them all.
    """

    first: int = 0
    total: int = 0

    name: ClassVar[str] = "MultiUpdateAdd"
    fields: ClassVar[tuple[FieldSpec, ...]] = (InOut("base"), In("offsets"), In("updates"))

    def compute(self, batch: Batch, **operands: Array) -> dict[str, Array]:
        """Add all slices, in the order of the offsets.

        Raises:
            ValueRangeError: an offset is outside the table.
        """
        offsets, updates = operands["offsets"], operands["updates"]
        rows, slice_axes = batch.windows["base"][0], len(batch.windows["base"]) - 1
        total = self.total or rows
        wrong = (offsets < -total) | (offsets >= total)
        if wrong.any():
            raise ValueRangeError(
                f"index {int(offsets[wrong][0])} is outside a table of {total} rows",
                where="codelet MultiUpdateAdd",
                fix=f"give indices from {-total} to {total - 1}",
            )
        place = np.where(offsets < 0, offsets + total, offsets) - self.first
        held = (place >= 0) & (place < rows)
        base = np.array(np.broadcast_to(operands["base"], batch.full("base")), order="C")
        flat = base.reshape(-1, *batch.windows["base"][1:])
        vertex = np.arange(len(flat) // max(rows, 1)).reshape(*batch.grid, 1) * rows
        row = vertex + np.where(held, place, 0)
        kept = held.reshape(*held.shape, *(1 for _ in range(slice_axes)))
        np.add.at(flat, row, np.where(kept, updates, updates.dtype.type(0)))
        return {"base": base}

    def itemsize(self, sizes: Mapping[str, int]) -> int:
        """Bytes of an element of what is added to."""
        return sizes["base"]

    def cycles(
        self, target: Target, windows: Mapping[str, tuple[Number, ...]], itemsize: int
    ) -> Number:
        """Cycles of one vertex."""
        workers = target.worker_contexts
        rows, count = windows["base"][0], windows["offsets"][0]
        # The busiest worker has one share of the rows, and of the offsets that hit these.
        hits = ceil_div(ceil_div(count * rows, self.total or rows), workers)
        words = ceil_div(elements(windows["updates"][1:]) * itemsize, 4)
        start, add = (32, 11) if itemsize >= 4 else (33, 13)
        return workers * (start + hits * (add + 3 * (words - 1)) + (count - hits) * 5)

    def flops(self, windows: Mapping[str, Shape]) -> int:
        """One addition for each element of the slices, if all hit."""
        return int(elements(windows["updates"]))

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """A whole table, a part of one, and halves added to a table of single elements."""
        kinds = {"offsets": "int32"}
        table: dict[str, Shape] = {"base": (5, 3), "offsets": (4,), "updates": (4, 3)}
        longer: dict[str, Shape] = {"base": (5, 3), "offsets": (40,), "updates": (40, 3)}
        column: dict[str, Shape] = {"base": (6,), "offsets": (4,), "updates": (4,)}
        return (
            Example(cls(), table, kinds, {"offsets": (-5, 4)}, longer),
            Example(cls(3, 9), table, kinds, {"offsets": (3, 7)}, longer),
            Example(
                cls(),
                column,
                {**kinds, "updates": "float16"},
                {"offsets": (0, 5)},
                {"base": (6,), "offsets": (40,), "updates": (40,)},
            ),
        )
