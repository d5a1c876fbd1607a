"""Cast: elements in another type."""

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
    In,
    Number,
    Out,
    ceil_div,
    elements,
)
from ipuc.target import Target


@dataclass(frozen=True)
class Cast(Codelet):
    """out = x in the type `to`. Floats are cut towards zero; a flag is "not zero".

    Attributes:
        source: element type of `x`.
        to: element type of `out`.

    Source: PopLibs popopsCycleEstimators.cpp, Cast1D: 12 + W * (18 + 19 + n), where n is one cycle
    per 2 elements from half to float, 2 per 4 from float to half, else 2 for each element.
    """

    source: str
    to: str

    name: ClassVar[str] = "Cast"
    fields: ClassVar[tuple[FieldSpec, ...]] = (In("x"), Out("out"))

    def compute(self, batch: Batch, **operands: Array) -> dict[str, Array]:
        """Convert."""
        del batch
        x = operands["x"]
        if x.dtype.kind == "f" and self.to.startswith(("int", "uint")):
            return {"out": np.trunc(x)}  # the store converts, and knows what fits
        # Rounding to half is the store's.
        return {"out": x.astype("float32" if self.to == "float16" else self.to, copy=False)}

    def cycles(
        self, target: Target, windows: Mapping[str, tuple[Number, ...]], itemsize: int
    ) -> Number:
        """Cycles of one vertex."""
        del itemsize
        workers = target.worker_contexts
        per_worker = ceil_div(elements(windows["out"]), workers)
        floats = self.source.startswith("float") and self.to.startswith("float")
        loop = ceil_div(per_worker, 2) if floats else 2 * per_worker
        return 12 + workers * (18 + 19 + loop)

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """Between floats, to whole numbers, and from flags."""
        vector = {"x": (5,), "out": (5,)}
        pairs = (("float32", "float16"), ("float32", "int32"), ("bool", "float32"))
        return tuple(
            Example(cls(source, to), vector, {"x": source, "out": to}, {"x": (-9.0, 9.0)})
            for source, to in pairs
        )
