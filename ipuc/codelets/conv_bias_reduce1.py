"""ConvBiasReduce1: the deltas of a tile, summed for each channel of a group."""

from __future__ import annotations

import math
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
    ceil_div,
)
from ipuc.target import Target
from ipuc.types import Shape


@dataclass(frozen=True)
class ConvBiasReduce1(Codelet):
    """out[c] = the sum of deltas[i, c] over i. deltas: [places, channels]; out: [channels].

    Sums stay in float32 until they are stored.

    Source: our own estimate, cycles of one worker: 8, + for each vector of channels 4, and one for
    each vector that is loaded and added in the same cycle.
    """

    name: ClassVar[str] = "ConvBiasReduce1"
    fields: ClassVar[tuple[FieldSpec, ...]] = (In("deltas"), Out("out"))

    def compute(self, batch: Batch, **operands: Array) -> dict[str, Array]:
        """Add along the places."""
        deltas = operands["deltas"]
        return {"out": deltas.sum(axis=batch.axes, dtype=np.float32)}

    def free_axes(self, windows: Mapping[str, Shape]) -> tuple[FreeAxis, ...]:
        """The channels."""
        del windows
        return (FreeAxis({"deltas": 1, "out": 0}),)

    def itemsize(self, sizes: Mapping[str, int]) -> int:
        """Bytes of a delta."""
        return sizes["deltas"]

    def cycles(
        self, target: Target, windows: Mapping[str, tuple[Number, ...]], itemsize: int
    ) -> Number:
        """Cycles of one vertex."""
        workers = target.worker_contexts
        places, channels = windows["deltas"]
        vectors = ceil_div(channels, target.vector_width(itemsize))
        return as_cycles(workers * (8 + vectors * (4 + ceil_div(places, workers))))

    def flops(self, windows: Mapping[str, Shape]) -> int:
        """One addition for each delta."""
        return math.prod(windows["deltas"])

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """Floats, and halves with sums of floats."""
        some: dict[str, Shape] = {"deltas": (3, 8), "out": (8,)}
        more: dict[str, Shape] = {"deltas": (30, 16), "out": (16,)}
        return (
            Example(cls(), some, larger=more),
            Example(cls(), some, {"deltas": "float16"}, larger=more),
        )
