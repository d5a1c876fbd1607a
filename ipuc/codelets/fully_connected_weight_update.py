"""FullyConnectedWeightUpdate: a step of gradient descent on a slice of one row of weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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
from ipuc.codelets.threads import scratch
from ipuc.target import Target
from ipuc.types import Shape

#: Weights that are changed at once: they and what is added to them fit a cache of 1 MB.
_BLOCK = 1 << 17


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
        """An outer product of all rows and all columns, added to the weights block by block.

        Weights change where they lie if they may; what is added to them stays in the cache.
        """
        weights = operands["weights"]
        into = batch.into.get("weights")
        if into is None:
            into = np.empty(weights.shape, weights.dtype)
        for block in _blocks(weights, batch.axes):
            self._add(batch.axes, {name: one[block] for name, one in operands.items()}, into[block])
        return {"weights": into}

    def _add(self, axes: int, operands: Mapping[str, Array], into: Array) -> None:
        """The new weights of some vertices."""
        x, deltas, weights = (operands[name] for name in ("x", "deltas", "weights"))
        still = tuple(slice(None) if step else slice(1) for step in deltas.strides)
        scaled = deltas[still] * deltas.dtype.type(-self.rate)
        made = scratch("outer product", into.shape, into.dtype)
        if deltas.shape[-1] == 1:
            np.multiply(scaled, x[..., 0, :], out=made)
        else:
            scaled = np.broadcast_to(scaled, deltas.shape)
            grid = into.shape[:axes]
            made = grouped_product(scaled, x, grid, left_rows=0, right_columns=1, into=made)
        if self.keep != 1:
            weights = np.multiply(weights, weights.dtype.type(self.keep), out=into)
        np.add(weights, made, out=into)

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


def _blocks(weights: Array, axes: int) -> Iterator[tuple[slice, ...]]:
    """Cut the grid of weights [*grid, columns] along the axis of the largest steps in memory."""
    if not axes or not weights.size:
        yield ()
        return
    axis = max(range(axes), key=lambda a: (weights.shape[a] > 1, weights.strides[a]))
    each = max(1, _BLOCK * weights.shape[axis] // weights.size)
    for begin in range(0, weights.shape[axis], each):
        yield (*(slice(None) for _ in range(axis)), slice(begin, begin + each))
