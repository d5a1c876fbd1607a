"""MultiSlice: look rows up in a table by indices that only the run knows."""

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
    Number,
    Out,
    ceil_div,
    elements,
)
from ipuc.errors import ValueRangeError
from ipuc.target import Target


@dataclass(frozen=True)
class MultiSlice(Codelet):
    """out[i] = base[offsets[i] - first], or zeros if this vertex does not hold that row.

    base: [rows, *slice]; offsets: [n], int32; out: [n, *slice]. Rows are numbered from the front
    of the whole table, or from its end by negative numbers.

    Attributes:
        first: number of the first row that these vertices hold.
        total: rows of the whole table; 0 if these vertices hold all of it.

    Source: PopLibs popops PerformanceEstimation.cpp: W * (30 + in * (19 + 2 * ceil(e / 2)) + out *
    8), e elements of a slice, `in` and `out` the offsets of a worker that hit and miss these rows,
    spread evenly.
    """

    first: int = 0
    total: int = 0

    name: ClassVar[str] = "MultiSlice"
    fields: ClassVar[tuple[FieldSpec, ...]] = (In("base"), In("offsets"), Out("out"))

    def compute(self, batch: Batch, **operands: Array) -> dict[str, Array]:
        """Look all offsets up.

        Raises:
            ValueRangeError: an offset is outside the table.
        """
        base, offsets = operands["base"], operands["offsets"]
        rows = base.shape[batch.axes]
        total = self.total or rows
        wrong = (offsets < -total) | (offsets >= total)
        if wrong.any():
            raise ValueRangeError(
                f"index {int(offsets[wrong][0])} is outside a table of {total} rows",
                where="codelet MultiSlice",
                fix=f"give indices from {-total} to {total - 1}",
            )
        place = np.where(offsets < 0, offsets + total, offsets) - self.first
        slice_axes = base.ndim - batch.axes - 1
        place = place.reshape(*place.shape, *(1 for _ in range(slice_axes)))
        held = (place >= 0) & (place < rows)
        out = np.take_along_axis(base, np.where(held, place, 0), axis=batch.axes)
        return {"out": np.where(held, out, out.dtype.type(0))}

    def cycles(
        self, target: Target, windows: Mapping[str, tuple[Number, ...]], itemsize: int
    ) -> Number:
        """Cycles of one vertex."""
        del itemsize  # half and float both move two elements in two cycles
        workers = target.worker_contexts
        rows = windows["base"][0]
        per_worker = ceil_div(windows["offsets"][0], workers)
        hits = ceil_div(per_worker * rows, self.total or rows)
        row = elements(windows["out"][1:])
        return workers * (30 + hits * (19 + 2 * ceil_div(row, 2)) + (per_worker - hits) * 8)

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """A whole table, a part of one, and a table of single elements."""
        kinds = {"offsets": "int32"}
        table = {"base": (5, 3), "offsets": (4,), "out": (4, 3)}
        longer = {"base": (5, 3), "offsets": (40,), "out": (40, 3)}
        column = {"base": (6,), "offsets": (4,), "out": (4,)}
        return (
            Example(cls(), table, kinds, {"offsets": (-5, 4)}, longer),
            Example(cls(3, 9), table, kinds, {"offsets": (3, 7)}, longer),
            Example(
                cls(),
                column,
                {**kinds, "base": "float16", "out": "float16"},
                {"offsets": (0, 5)},
                {"base": (6,), "offsets": (40,), "out": (40,)},
            ),
        )
