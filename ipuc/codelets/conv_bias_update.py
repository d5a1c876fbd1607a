"""ConvBiasUpdate: a step down the gradient, on one bias."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ipuc.codelets.amp import as_cycles
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
)
from ipuc.target import Target
from ipuc.types import Shape


@dataclass(frozen=True)
class ConvBiasUpdate(Codelet):
    """bias = bias - rate * the sum of its partial sums, in float32, and rounded once.

    partials: [k], a list of scalars; bias: no axes.

    Attributes:
        rate: the learning rate.

    Source: our own estimate, cycles of one worker: 8 as for the sums before, + a pointer, a load
    and an addition of each partial sum, + 8 to load, multiply, add and store the bias.
    """

    rate: float

    name: ClassVar[str] = "ConvBiasUpdate"
    fields: ClassVar[tuple[FieldSpec, ...]] = (In("partials", list_axes=1), InOut("bias"))

    def compute(self, batch: Batch, **operands: Array) -> dict[str, Array]:
        """Add up, multiply, add."""
        total = operands["partials"].sum(axis=batch.axes, dtype=np.float32)
        return {"bias": operands["bias"] - np.float32(self.rate) * total}

    def itemsize(self, sizes: Mapping[str, int]) -> int:
        """Bytes of the bias."""
        return sizes["bias"]

    def cycles(
        self, target: Target, windows: Mapping[str, tuple[Number, ...]], itemsize: int
    ) -> Number:
        """Cycles of one vertex."""
        del itemsize
        workers = target.worker_contexts
        return as_cycles(workers * (16 + 3 * ceil_div(windows["partials"][0], workers)))

    def flops(self, windows: Mapping[str, Shape]) -> int:
        """One addition for each partial sum, and the step."""
        return windows["partials"][0] + 2

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """Some partial sums, added to a bias of either type."""
        some: dict[str, Shape] = {"partials": (3,), "bias": ()}
        more: dict[str, Shape] = {"partials": (40,), "bias": ()}
        return (
            Example(cls(0.75), some, larger=more),
            Example(cls(0.75), some, {"bias": "float16"}, larger=more),
        )
