"""FullyConnectedWeightUpdate: a step of gradient descent on a slice of one row of weights."""

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
    InOut,
    Number,
    ceil_div,
)
from ipuc.target import Target
from ipuc.types import Shape


@dataclass(frozen=True)
class FullyConnectedWeightUpdate(Codelet):
    """weights[c] = keep * weights[c] - rate * the sum over n of deltas[n] * x[n, c].

    x: [batch, columns]; deltas: [batch], the gradient of one output; weights: [columns], of the row
    that makes it. The gradient of the weights is never stored.

    Attributes:
        rate: learning rate, by which the gradient is multiplied.
        keep: what remains of a weight under weight decay.

    Source: our own estimate, by the partial products of the same time: 10 worker cycles, and for
    each 64-bit word of the slice and row of the batch a load of x, a multiply-add, and 2 for each
    word of weights.
    """

    rate: float
    keep: float = 1.0

    name: ClassVar[str] = "FullyConnectedWeightUpdate"
    fields: ClassVar[tuple[FieldSpec, ...]] = (In("x"), In("deltas"), InOut("weights"))

    def compute(self, batch: Batch, **operands: Array) -> dict[str, Array]:
        """An outer product of all rows and all columns, added to the weights."""
        deltas = operands["deltas"]
        still = tuple(slice(None) if step else slice(1) for step in deltas.strides)
        scaled = np.broadcast_to(deltas[still] * deltas.dtype.type(-self.rate), deltas.shape)
        made = grouped_product(scaled, operands["x"], batch.grid, left_rows=0, right_columns=1)
        weights = operands["weights"]
        if self.keep != 1:
            weights = weights * weights.dtype.type(self.keep)
        into = made if made.shape == weights.shape else None
        return {"weights": np.add(made, weights, out=into)}

    def free_axes(self, windows: Mapping[str, Shape]) -> tuple[FreeAxis, ...]:
        """The columns."""
        del windows
        return (FreeAxis({"x": 1, "weights": 0}),)

    def itemsize(self, sizes: Mapping[str, int]) -> int:
        """Bytes of an element of the weights."""
        return sizes["weights"]

    def cycles(
        self, target: Target, windows: Mapping[str, tuple[Number, ...]], itemsize: int
    ) -> Number:
        """Cycles of one vertex."""
        rows, columns = windows["x"]
        words = ceil_div(columns, target.vector_width(itemsize))
        return target.worker_contexts * (10 + words * (2 * rows + 2))

    def flops(self, windows: Mapping[str, Shape]) -> int:
        """Two for each multiply-add."""
        rows, columns = windows["x"]
        return 2 * rows * columns

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """One row; a batch of halves; with weight decay."""
        one: dict[str, Shape] = {"x": (1, 5), "deltas": (1,), "weights": (5,)}
        more: dict[str, Shape] = {"x": (3, 4), "deltas": (3,), "weights": (4,)}
        halves = dict.fromkeys(("x", "deltas", "weights"), "float16")
        return (
            Example(cls(0.5), one),
            Example(cls(0.5), more, halves),
            Example(cls(0.5, 0.75), more),
        )
