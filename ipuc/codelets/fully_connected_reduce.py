"""FullyConnectedReduce: one output of a dense layer from its parts and its bias."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ipuc.codelets.define import Array, Batch, Codelet, Example, FieldSpec, In, Number, Out
from ipuc.target import Target
from ipuc.types import Shape


@dataclass(frozen=True)
class FullyConnectedReduce(Codelet):
    """out[n] = the sum of partials[:, n], and the bias.

    partials: [slices, batch], a list of slices; bias: [1], or [batch]; out: [batch]. Sums are
    float32 and rounded once, when they are stored.

    Source: our own estimate: 20 worker cycles; a load and an addition for each part and for the
    bias, a store for the result.
    """

    name: ClassVar[str] = "FullyConnectedReduce"
    fields: ClassVar[tuple[FieldSpec, ...]] = (
        In("partials", list_axes=1),
        In("bias"),
        Out("out"),
    )

    def compute(self, batch: Batch, **operands: Array) -> dict[str, Array]:
        """Add along the slices."""
        total = operands["partials"].sum(axis=batch.axes, dtype=np.float32)
        total += operands["bias"]
        return {"out": total}

    def cycles(
        self, target: Target, windows: Mapping[str, tuple[Number, ...]], itemsize: int
    ) -> Number:
        """Cycles of one vertex."""
        del itemsize
        slices, rows = windows["partials"]
        return target.worker_contexts * (20 + rows * (2 * slices + 3))

    def flops(self, windows: Mapping[str, Shape]) -> int:
        """One addition for each part."""
        slices, rows = windows["partials"]
        return slices * rows

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """One row; a batch whose result is of halves; a bias for each row."""
        one: dict[str, Shape] = {"partials": (4, 1), "bias": (1,), "out": (1,)}
        more: dict[str, Shape] = {"partials": (3, 2), "bias": (1,), "out": (2,)}
        larger: dict[str, Shape] = {"partials": (6, 4), "bias": (1,), "out": (4,)}
        own: dict[str, Shape] = {"partials": (3, 2), "bias": (2,), "out": (2,)}
        halves = dict.fromkeys(("bias", "out"), "float16")
        longer: dict[str, Shape] = {"partials": (8, 1), "bias": (1,), "out": (1,)}
        return (
            Example(cls(), one, larger=longer),
            Example(cls(), more, halves, larger=larger),
            Example(cls(), own),
        )
