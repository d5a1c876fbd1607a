"""ScaledAdd: a multiple of one operand added to another, where that lies."""

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

#: Worker cycles of a vector: of one type; of halves added to floats; of floats added to halves.
_LOOP = {"": 3, "float16": 4, "float32": 5}


@dataclass(frozen=True)
class ScaledAdd(Codelet):
    """a = a + scale * b, in float32, and rounded once. Windows of a and b have one shape.

    Or a - scale * b: then a learning rate is the scale of a gradient as it is.

    scale: one element, without axes: a learning rate may change while the program stays. A sum
    without a factor is BinaryOpInPlace("add").

    Attributes:
        other: element type of b where it is not that of a: "float16" or "float32"; "" otherwise.
        subtract: subtract the product.

    Source: PopLibs popopsCycleEstimators.cpp, ScaledAddSupervisor: 57, or 63 where a rest fills no
    vector, + W * (25 + k * n), n vectors of the busiest worker, k = 3 of one type, 4 of halves
    added to floats, 5 of floats added to halves.
    """

    other: str = ""
    subtract: bool = False

    name: ClassVar[str] = "ScaledAdd"
    fields: ClassVar[tuple[FieldSpec, ...]] = (InOut("a"), In("b"), In("scale"))

    def compute(self, batch: Batch, **operands: Array) -> dict[str, Array]:
        """Multiply, then add."""
        axes = len(batch.windows["a"])
        scale = operands["scale"]
        scale = scale.reshape(*scale.shape, *(1 for _ in range(axes)))
        product = operands["b"] * (-scale if self.subtract else scale)
        product += operands["a"]
        return {"a": product}

    def free_axes(self, windows: Mapping[str, Shape]) -> tuple[FreeAxis, ...]:
        """Every axis."""
        return pointwise(windows, ("a", "b"))

    def itemsize(self, sizes: Mapping[str, int]) -> int:
        """Bytes of an element of what is added to."""
        return sizes["a"]

    def cycles(
        self, target: Target, windows: Mapping[str, tuple[Number, ...]], itemsize: int
    ) -> Number:
        """Cycles of one vertex."""
        workers, vector = target.worker_contexts, target.vector_width(itemsize)
        count = np.asarray(elements(windows["a"]))
        start = 57 + 6 * (count % vector != 0)
        return as_cycles(
            start + workers * (25 + _LOOP[self.other] * ceil_div(count // vector, workers))
        )

    def flops(self, windows: Mapping[str, Shape]) -> int:
        """One multiplication and one addition for each element."""
        return 2 * int(elements(windows["a"]))

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """A vector, a block of halves, and each mixture of types."""
        vector: dict[str, Shape] = {"a": (5,), "b": (5,), "scale": ()}
        block: dict[str, Shape] = {"a": (2, 3), "b": (2, 3), "scale": ()}
        longer: dict[str, Shape] = {"a": (65,), "b": (65,), "scale": ()}
        wider: dict[str, Shape] = {"a": (6, 33), "b": (6, 33), "scale": ()}
        halves = dict.fromkeys(("a", "b"), "float16")
        away = {"scale": (0.5, 2.0)}  # the product must be seen in the sum of halves
        return (
            Example(cls(), vector, ranges=away, larger=longer),
            Example(cls(), block, halves, away, wider),
            Example(cls("float16"), block, {"b": "float16"}, away, wider),
            Example(cls("float32"), vector, {"a": "float16"}, away, longer),
            Example(cls(subtract=True), vector, ranges=away, larger=longer),
        )
