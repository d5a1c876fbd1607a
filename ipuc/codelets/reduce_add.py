"""ReduceAdd: add the partial sums that a split over input channels leaves."""

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
    Number,
    Out,
    ceil_div,
    elements,
)
from ipuc.target import Target
from ipuc.types import Shape


@dataclass(frozen=True)
class ReduceAdd(Codelet):
    """out = the sum of D partials. partials: [D, *window], a list of D vectors; out: [*window].

    Source: PopLibs poplin PerformanceEstimation.hpp, ReduceAdd, multi input, float32 partials:
    W * (c + q * ((ld + 1) * D + 7)), ov outputs, vec = 4, ld = 2.
    """

    name: ClassVar[str] = "ReduceAdd"
    fields: ClassVar[tuple[FieldSpec, ...]] = (In("partials", list_axes=1), Out("out"))

    def compute(self, batch: Batch, **operands: Array) -> dict[str, Array]:
        """Add along the list axis."""
        return {"out": operands["partials"].sum(axis=batch.axes, dtype=np.float32)}

    def free_axes(self, windows: Mapping[str, Shape]) -> tuple[FreeAxis, ...]:
        """The outputs."""
        return tuple(FreeAxis({"partials": d + 1, "out": d}) for d in range(len(windows["out"])))

    def cycles(
        self, target: Target, windows: Mapping[str, tuple[Number, ...]], itemsize: int
    ) -> Number:
        """Cycles of one vertex."""
        del itemsize  # partials are float32
        workers = target.worker_contexts
        depth = windows["partials"][0]
        outputs = elements(windows["out"])
        blocks = ceil_div(outputs, 4)
        return workers * (32 + 2 * depth + 13 + ceil_div(blocks, workers) * (3 * depth + 7))

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """Three partial blocks, and one partial alone."""
        return (
            Example(cls(), {"partials": (3, 2, 5), "out": (2, 5)}),
            Example(cls(), {"partials": (1, 4), "out": (4,)}),
        )
