"""ConvBiasReduce2: a worker's share of the partial sums of one bias."""

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
    Number,
    Out,
    ceil_div,
)
from ipuc.target import Target
from ipuc.types import Shape


@dataclass(frozen=True)
class ConvBiasReduce2(Codelet):
    """out = the sum of some partial sums. partials: [n], a list of scalars; out: no axes.

    Source: our own estimate, cycles of one worker: 8, + a pointer, a load and an addition of each
    partial sum.
    """

    name: ClassVar[str] = "ConvBiasReduce2"
    fields: ClassVar[tuple[FieldSpec, ...]] = (In("partials", list_axes=1), Out("out"))

    def compute(self, batch: Batch, **operands: Array) -> dict[str, Array]:
        """Add them up in float32."""
        return {"out": operands["partials"].sum(axis=batch.axes, dtype=np.float32)}

    def cycles(
        self, target: Target, windows: Mapping[str, tuple[Number, ...]], itemsize: int
    ) -> Number:
        """Cycles of one vertex."""
        del itemsize
        workers = target.worker_contexts
        return as_cycles(workers * (8 + 3 * ceil_div(windows["partials"][0], workers)))

    def flops(self, windows: Mapping[str, Shape]) -> int:
        """One addition for each partial sum."""
        return windows["partials"][0]

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """Some partial sums, in either type."""
        some: dict[str, Shape] = {"partials": (3,), "out": ()}
        more: dict[str, Shape] = {"partials": (40,), "out": ()}
        return (
            Example(cls(), some, larger=more),
            Example(cls(), some, dict.fromkeys(some, "float16"), larger=more),
        )
