"""Gather: take a slice whose place is known when the program is built."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

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
    elements,
)
from ipuc.target import Target


class Gather(Codelet):
    """out = x, one slice of a table. Windows of both fields have one shape.

    Source: PopLibs popops PerformanceEstimation.cpp, dynamicSlice1D with one row of e elements:
    25 + W * (39 + (24 + 2 * floor(ceil(e / W) / v))).
    """

    name: ClassVar[str] = "Gather"
    fields: ClassVar[tuple[FieldSpec, ...]] = (In("x"), Out("out"))

    def compute(self, batch: Batch, **operands: Array) -> dict[str, Array]:
        """Take the slice."""
        del batch
        return {"out": operands["x"]}

    def cycles(
        self, target: Target, windows: Mapping[str, tuple[Number, ...]], itemsize: int
    ) -> Number:
        """Cycles of one vertex."""
        workers = target.worker_contexts
        per_worker = ceil_div(elements(windows["out"]), workers)
        return 25 + workers * (39 + 24 + 2 * (per_worker // target.vector_width(itemsize)))

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """A block of floats, and a block of whole numbers."""
        block = {"x": (2, 7), "out": (2, 7)}
        larger = {"x": (20, 7), "out": (20, 7)}
        return (
            Example(cls(), block, larger=larger),
            Example(cls(), block, dict.fromkeys(block, "int32"), larger=larger),
        )
