"""FullyConnectedBiasUpdate: a step of gradient descent on the bias of a dense layer."""

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
    FreeAxis,
    In,
    InOut,
    Number,
)
from ipuc.target import Target
from ipuc.types import Shape


@dataclass(frozen=True)
class FullyConnectedBiasUpdate(Codelet):
    """bias = keep * bias - rate * the sum over n of deltas[n].

    deltas: [batch, outputs], the gradient of the outputs; bias: [outputs].

    Attributes:
        rate: learning rate, by which the gradient is multiplied.
        keep: what remains of a bias under weight decay.

    Source: our own estimate: 10 worker cycles; for each output a load and an addition for each row
    of the batch, and a load, a multiply-add and a store.
    """

    rate: float
    keep: float = 1.0

    name: ClassVar[str] = "FullyConnectedBiasUpdate"
    fields: ClassVar[tuple[FieldSpec, ...]] = (In("deltas", list_axes=1), InOut("bias"))

    def compute(self, batch: Batch, **operands: Array) -> dict[str, Array]:
        """Add over the batch, multiply, and add to the bias."""
        bias = operands["bias"]
        number = bias.dtype.type
        made = operands["deltas"].sum(axis=batch.axes, dtype=np.float32) * number(-self.rate)
        return {"bias": made + (bias if self.keep == 1 else bias * number(self.keep))}

    def free_axes(self, windows: Mapping[str, Shape]) -> tuple[FreeAxis, ...]:
        """The outputs."""
        del windows
        return (FreeAxis({"deltas": 1, "bias": 0}),)

    def cycles(
        self, target: Target, windows: Mapping[str, tuple[Number, ...]], itemsize: int
    ) -> Number:
        """Cycles of one vertex."""
        del itemsize
        rows, outputs = windows["deltas"]
        return target.worker_contexts * (10 + outputs * (2 * rows + 3))

    def flops(self, windows: Mapping[str, Shape]) -> int:
        """One addition for each delta, and a multiply-add for each output."""
        rows, outputs = windows["deltas"]
        return (rows + 2) * outputs

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """One row; a batch of halves; with weight decay."""
        one: dict[str, Shape] = {"deltas": (1, 5), "bias": (5,)}
        more: dict[str, Shape] = {"deltas": (3, 2), "bias": (2,)}
        halves = dict.fromkeys(("deltas", "bias"), "float16")
        return (
            Example(cls(0.5), one),
            Example(cls(0.5), more, halves),
            Example(cls(0.5, 0.75), more),
        )
