"""FullyConnectedWeightGradient: the gradient of a slice of one row of weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

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
class FullyConnectedWeightGradient(Codelet):
    """out[c] = the sum over n of deltas[n] * x[n, c], for optimizers that need the gradient itself.

    x: [batch, columns]; deltas: [batch], the gradient of one output; out: [columns].

    Source: our own estimate, as FullyConnectedWeightUpdate: 10 worker cycles, and for each 64-bit
    word of the slice a load of x and a multiply-add for each row of the batch, and a store.
    """

    name: ClassVar[str] = "FullyConnectedWeightGradient"
    fields: ClassVar[tuple[FieldSpec, ...]] = (In("x"), In("deltas"), Out("out"))
    multiplies: ClassVar[bool] = True

    def compute(self, batch: Batch, **operands: Array) -> dict[str, Array]:
        """An outer product of all rows and all columns."""
        made = grouped_product(
            operands["deltas"],
            operands["x"],
            batch.grid,
            left_rows=0,
            right_columns=1,
            into=batch.into.get("out"),
        )
        return {"out": made}

    def free_axes(self, windows: Mapping[str, Shape]) -> tuple[FreeAxis, ...]:
        """The columns."""
        del windows
        return (FreeAxis({"x": 1, "out": 0}),)

    def cycles(
        self, target: Target, windows: Mapping[str, tuple[Number, ...]], itemsize: int
    ) -> Number:
        """Cycles of one vertex."""
        rows, columns = windows["x"]
        words = ceil_div(columns, target.vector_width(itemsize))
        return target.worker_contexts * (10 + words * (2 * rows + 1))

    def flops(self, windows: Mapping[str, Shape]) -> int:
        """Two for each multiply-add."""
        rows, columns = windows["x"]
        return 2 * rows * columns

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """One row, and a batch of halves."""
        one: dict[str, Shape] = {"x": (1, 5), "deltas": (1,), "out": (5,)}
        more: dict[str, Shape] = {"x": (3, 4), "deltas": (3,), "out": (4,)}
        halves = dict.fromkeys(("x", "deltas", "out"), "float16")
        return (Example(cls(), one), Example(cls(), more, halves))
