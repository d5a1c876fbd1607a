"""FullyConnectedBwdReduce: one element of a dense layer's result, from its parts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ipuc.codelets.define import Array, Batch, Codelet, Example, FieldSpec, In, Number, Out
from ipuc.target import Target
from ipuc.types import Shape


@dataclass(frozen=True)
class FullyConnectedBwdReduce(Codelet):
    """out[n] = the sum of partials[:, n]: for each input its gradient, or an output without bias.

    partials: [parts, batch], a list of parts; out: [batch]. Sums are float32 and rounded once, when
    they are stored.

    Source: our own estimate: 20 worker cycles; a load and an addition for each part, a store for
    the result.
    """

    name: ClassVar[str] = "FullyConnectedBwdReduce"
    fields: ClassVar[tuple[FieldSpec, ...]] = (In("partials", list_axes=1), Out("out"))

    def compute(self, batch: Batch, **operands: Array) -> dict[str, Array]:
        """Add along the parts."""
        return {"out": operands["partials"].sum(axis=batch.axes, dtype=np.float32)}

    def cycles(
        self, target: Target, windows: Mapping[str, tuple[Number, ...]], itemsize: int
    ) -> Number:
        """Cycles of one vertex."""
        del itemsize
        parts, rows = windows["partials"]
        return target.worker_contexts * (20 + rows * (2 * parts + 1))

    def flops(self, windows: Mapping[str, Shape]) -> int:
        """One addition for each part but the first."""
        parts, rows = windows["partials"]
        return (parts - 1) * rows

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """One row, and a batch whose result is of halves."""
        one: dict[str, Shape] = {"partials": (4, 1), "out": (1,)}
        more: dict[str, Shape] = {"partials": (3, 2), "out": (2,)}
        return (Example(cls(), one), Example(cls(), more, {"out": "float16"}))
