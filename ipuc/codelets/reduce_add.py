"""ReduceAdd: add the partial sums that a split over input channels leaves."""

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
    FreeAxis,
    In,
    Number,
    Out,
    elements,
)
from ipuc.target import Target
from ipuc.types import Shape


@dataclass(frozen=True)
class ReduceAdd(Codelet):
    """out = the sum of D partials. partials: [D, *window], a list of D vectors; out: [*window].

    Halves are added in float32 too, and rounded when the sum is stored.

    Attributes:
        partials: element type of the partials.

    Source: PopLibs poplin PerformanceEstimation.hpp (ReduceAdd, multi input).
    """

    partials: str = "float32"

    name: ClassVar[str] = "ReduceAdd"
    fields: ClassVar[tuple[FieldSpec, ...]] = (In("partials", list_axes=1), Out("out"))

    def compute(self, batch: Batch, **operands: Array) -> dict[str, Array]:
        """Add along the list axis."""
        partials, into = operands["partials"], batch.into.get("out")
        return {"out": partials.sum(axis=batch.axes, dtype=np.float32, out=into)}

    def free_axes(self, windows: Mapping[str, Shape]) -> tuple[FreeAxis, ...]:
        """The outputs."""
        return tuple(FreeAxis({"partials": d + 1, "out": d}) for d in range(len(windows["out"])))

    def itemsize(self, sizes: Mapping[str, int]) -> int:
        """Bytes of an element of the sum; partials may be wider."""
        return sizes["out"]

    def cycles(
        self, target: Target, windows: Mapping[str, tuple[Number, ...]], itemsize: int
    ) -> Number:
        """Cycles of one vertex; `itemsize` is the output's.

        Outputs are added four at a time (eight of halves), the odd ones by smaller powers of two;
        those loops are dealt to the workers in turn.
        """
        start, rounds, each = self._parts(target, windows, itemsize)
        return as_cycles(target.worker_contexts * (start + rounds * each))

    def _parts(
        self, target: Target, windows: Mapping[str, tuple[Number, ...]], itemsize: int
    ) -> tuple[Number, Number, Number]:
        """Worker cycles before the loops of the busiest worker, its loops, and cycles of each."""
        workers = target.worker_contexts
        depth = windows["partials"][0]
        outputs = np.asarray(elements(windows["out"]))
        halves = self.partials == "float16"
        at_once = 8 if halves else 4
        odd = outputs % at_once
        loops = outputs // at_once + (odd & 1) + (odd >> 1 & 1) + (odd >> 2)
        each, left = loops // workers, loops % workers > 0
        start = 32 + np.where(left & (odd > 0), 2 * depth + (11 if halves else 13), 0)
        rounds = each + (left & (odd == 0))
        store = (7 if itemsize >= 4 else 6) + (2 if halves else 0)
        return start, rounds, 3 * depth + store

    def formula(self, target: Target, windows: Mapping[str, Shape], itemsize: int) -> str:
        """The formula of `cycles` with its numbers."""
        start, rounds, each = self._parts(target, windows, itemsize)
        made = self.cycles(target, windows, itemsize)
        return f"{target.worker_contexts} x ({start} + {rounds} x {each}) = {made:,}"

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """Three partial blocks, one partial alone, and partials of halves."""
        return (
            Example(cls(), {"partials": (3, 2, 5), "out": (2, 5)}),
            Example(cls(), {"partials": (1, 4), "out": (4,)}),
            Example(
                cls("float16"),
                {"partials": (3, 7), "out": (7,)},
                {"partials": "float16", "out": "float16"},
                larger={"partials": (9, 80), "out": (80,)},
            ),
        )
