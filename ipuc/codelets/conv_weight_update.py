"""ConvWeightUpdate: a step down the gradient, on weights where they lie."""

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
    InOut,
    Number,
    ceil_div,
    elements,
    pointwise,
)
from ipuc.target import Target
from ipuc.types import Shape

#: Worker cycles of a vector: of one type; of floats added to halves.
_SAME, _MIXED = 3, 5


@dataclass(frozen=True)
class ConvWeightUpdate(Codelet):
    """weights = weights - rate * weight_deltas, in float32, and rounded once.

    Both windows have one shape.

    Attributes:
        rate: the learning rate.
        deltas: element type of the weight deltas.

    Source: cycles of one worker as in PopLibs popopsCycleEstimators.cpp, ScaledAdd: 25, + 3 for a
    vector of one type, 5 where floats are added to halves. The vertex of winter 2016/17 did the
    same work.
    """

    rate: float
    deltas: str = "float32"

    name: ClassVar[str] = "ConvWeightUpdate"
    fields: ClassVar[tuple[FieldSpec, ...]] = (InOut("weights"), In("weight_deltas"))

    def compute(self, batch: Batch, **operands: Array) -> dict[str, Array]:
        """Multiply, then add."""
        del batch
        step = operands["weight_deltas"] * np.float32(-self.rate)
        step += operands["weights"]
        return {"weights": step}

    def free_axes(self, windows: Mapping[str, Shape]) -> tuple[FreeAxis, ...]:
        """Every axis."""
        return pointwise(windows, ("weights", "weight_deltas"))

    def itemsize(self, sizes: Mapping[str, int]) -> int:
        """Bytes of a weight."""
        return sizes["weights"]

    def cycles(
        self, target: Target, windows: Mapping[str, tuple[Number, ...]], itemsize: int
    ) -> Number:
        """Cycles of one vertex."""
        workers = target.worker_contexts
        vectors = ceil_div(np.asarray(elements(windows["weights"])), target.vector_width(itemsize))
        each = _MIXED if itemsize == 2 and self.deltas == "float32" else _SAME
        return as_cycles(workers * (25 + each * ceil_div(vectors, workers)))

    def flops(self, windows: Mapping[str, Shape]) -> int:
        """One multiplication and one addition for each weight."""
        return 2 * int(elements(windows["weights"]))

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """Floats, halves with deltas of each type."""
        row: dict[str, Shape] = {"weights": (5,), "weight_deltas": (5,)}
        block: dict[str, Shape] = {"weights": (2, 3), "weight_deltas": (2, 3)}
        longer: dict[str, Shape] = {"weights": (65,), "weight_deltas": (65,)}
        wider: dict[str, Shape] = {"weights": (6, 33), "weight_deltas": (6, 33)}
        return (
            Example(cls(0.75), row, larger=longer),
            Example(cls(0.75), block, {"weights": "float16"}, larger=wider),
            Example(cls(0.75, "float16"), row, dict.fromkeys(row, "float16"), larger=longer),
        )
