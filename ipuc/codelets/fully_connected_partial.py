"""FullyConnectedPartial: a part of the dot product that makes one output of a dense layer."""

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
    In,
    Number,
    Out,
    ceil_div,
)
from ipuc.target import Target
from ipuc.types import Shape


@dataclass(frozen=True)
class FullyConnectedPartial(Codelet):
    """out[n] = x[n] . weights, for a slice of one row of the weights.

    x: [batch, columns]; weights: [columns]; out: [batch]. The vertex serves every row of the batch.

    Source: the fully connected planner of PopLibs, winter 2016/17: 7 worker cycles and one for each
    64-bit word of the slice. For each row of the batch again: our own estimate.
    """

    name: ClassVar[str] = "FullyConnectedPartial"
    fields: ClassVar[tuple[FieldSpec, ...]] = (In("x"), In("weights"), Out("out"))
    multiplies: ClassVar[bool] = True

    def compute(self, batch: Batch, **operands: Array) -> dict[str, Array]:
        """One matrix product for each slice of columns: all rows of weights by all of the batch."""
        x = np.swapaxes(operands["x"], -1, -2)
        made = grouped_product(
            operands["weights"],
            x,
            batch.grid,
            left_rows=0,
            right_columns=1,
            into=batch.into.get("out"),
        )
        return {"out": made}

    def itemsize(self, sizes: Mapping[str, int]) -> int:
        """Bytes of an element of the operands; sums may be wider."""
        return sizes["weights"]

    def cycles(
        self, target: Target, windows: Mapping[str, tuple[Number, ...]], itemsize: int
    ) -> Number:
        """Cycles of one vertex."""
        rows, columns = windows["x"]
        words = ceil_div(columns, target.vector_width(itemsize))
        return target.worker_contexts * rows * (7 + words)

    def flops(self, windows: Mapping[str, Shape]) -> int:
        """Two for each multiply-add."""
        rows, columns = windows["x"]
        return 2 * rows * columns

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """One row, and a batch of halves with sums in float32."""
        one: dict[str, Shape] = {"x": (1, 5), "weights": (5,), "out": (1,)}
        more: dict[str, Shape] = {"x": (3, 4), "weights": (4,), "out": (3,)}
        halves = dict.fromkeys(("x", "weights"), "float16")
        return (Example(cls(), one), Example(cls(), more, halves))
