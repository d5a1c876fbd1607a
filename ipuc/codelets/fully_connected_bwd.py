"""FullyConnectedBwd: what some rows of a dense layer add to the gradient of a few inputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ipuc.codelets.amp import grouped_product
from ipuc.codelets.define import (
    Array,
    Batch,
    Codelet,
    Example,
    FieldSpec,
    FreeAxis,
    In,
    Number,
    Out,
    ceil_div,
)
from ipuc.target import Target
from ipuc.types import Shape


@dataclass(frozen=True)
class FullyConnectedBwd(Codelet):
    """out[c, n] = the sum over rows r of weights[r, c] * deltas[n, r], for the columns of a word.

    deltas: [batch, rows]; weights: [rows, columns], a word of each of the rows that lie on a tile;
    out: [columns, batch].

    Source: the fully connected planner of PopLibs, winter 2016/17: 5 worker cycles and 3 for each
    row. For each row of the batch again, and for more columns than a word: our own estimate.
    """

    name: ClassVar[str] = "FullyConnectedBwd"
    fields: ClassVar[tuple[FieldSpec, ...]] = (
        In("deltas"),
        In("weights", list_axes=1),
        Out("out", list_axes=1),
    )
    multiplies: ClassVar[bool] = True

    def compute(self, batch: Batch, **operands: Array) -> dict[str, Array]:
        """One matrix product for each share of the rows: all columns by all of the batch."""
        made = grouped_product(
            np.swapaxes(operands["weights"], -1, -2),
            np.swapaxes(operands["deltas"], -1, -2),
            batch.grid,
            left_rows=1,
            right_columns=1,
            into=batch.into.get("out"),
        )
        return {"out": made}

    def free_axes(self, windows: Mapping[str, Shape]) -> tuple[FreeAxis, ...]:
        """The columns."""
        del windows
        return (FreeAxis({"weights": 1, "out": 0}),)

    def itemsize(self, sizes: Mapping[str, int]) -> int:
        """Bytes of an element of the operands; sums may be wider."""
        return sizes["weights"]

    def cycles(
        self, target: Target, windows: Mapping[str, tuple[Number, ...]], itemsize: int
    ) -> Number:
        """Cycles of one vertex."""
        (batch, rows), (_, columns) = windows["deltas"], windows["weights"]
        words = ceil_div(columns, target.vector_width(itemsize))
        return target.worker_contexts * batch * words * (5 + 3 * rows)

    def flops(self, windows: Mapping[str, Shape]) -> int:
        """Two for each multiply-add."""
        (batch, rows), (_, columns) = windows["deltas"], windows["weights"]
        return 2 * batch * rows * columns

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """A word of every row; a short word, for a batch of halves with sums in float32."""
        one: dict[str, Shape] = {"deltas": (1, 5), "weights": (5, 4), "out": (4, 1)}
        more: dict[str, Shape] = {"deltas": (2, 3), "weights": (3, 3), "out": (3, 2)}
        halves = dict.fromkeys(("deltas", "weights"), "float16")
        return (Example(cls(), one), Example(cls(), more, halves))
