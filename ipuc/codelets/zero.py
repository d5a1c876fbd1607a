"""Zero: clear what vertices are about to add to."""

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
    Number,
    Out,
    ceil_div,
    elements,
    pointwise,
)
from ipuc.target import Target
from ipuc.types import Shape


@dataclass(frozen=True)
class Zero(Codelet):
    """out = 0.

    Source: PopLibs, winter 2016/17: a store of 64 bits a cycle; 20 cycles of one worker around it
    are our own estimate.
    """

    name: ClassVar[str] = "Zero"
    fields: ClassVar[tuple[FieldSpec, ...]] = (Out("out"),)

    def compute(self, batch: Batch, **operands: Array) -> dict[str, Array]:
        """Fill the memory given, or make zeros that broadcast."""
        del operands
        into = batch.into.get("out")
        if into is None:
            return {"out": np.broadcast_to(np.float32(0), batch.full("out"))}
        into[...] = 0
        return {"out": into}

    def free_axes(self, windows: Mapping[str, Shape]) -> tuple[FreeAxis, ...]:
        """Every axis."""
        return pointwise(windows, ("out",))

    def cycles(
        self, target: Target, windows: Mapping[str, tuple[Number, ...]], itemsize: int
    ) -> Number:
        """Cycles of one vertex."""
        workers = target.worker_contexts
        vectors = ceil_div(np.asarray(elements(windows["out"])), target.vector_width(itemsize))
        return as_cycles(workers * (20 + ceil_div(vectors, workers)))

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """A vector of floats, a block of halves."""
        block: dict[str, Shape] = {"out": (2, 3)}
        return (
            Example(cls(), {"out": (5,)}, larger={"out": (65,)}),
            Example(cls(), block, {"out": "float16"}, larger={"out": (6, 33)}),
        )
