"""AdamFactors: the numbers that all weights share in one step of Adam."""

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
    elements,
)
from ipuc.codelets.loops import UNARY
from ipuc.target import Target


@dataclass(frozen=True)
class AdamFactors(Codelet):
    """out = 1 / scale, rate / (1 - beta1 ** step), 1 / sqrt(1 - beta2 ** step).

    step, scale: one element each, without axes; out: three.

    Attributes:
        rate: learning rate.
        share1: 1 - beta1.
        share2: 1 - beta2.

    Source: PyTorch's Adam (bias_correction1 and 2). Cycles are our own estimate: one worker;
    two powers of a logarithm that is known, an exponential each, a root and three divisions.
    """

    rate: float
    share1: float
    share2: float

    name: ClassVar[str] = "AdamFactors"
    fields: ClassVar[tuple[FieldSpec, ...]] = (In("step"), In("scale"), Out("out"))

    def compute(self, batch: Batch, **operands: Array) -> dict[str, Array]:
        """Powers as exponentials: 1 - 0.999 ** 1 would lose four digits in float32."""
        del batch
        step, scale = operands["step"], operands["scale"]
        gone = (
            -np.expm1(step * step.dtype.type(np.log1p(-share)))
            for share in (self.share1, self.share2)
        )
        first, second = gone
        parts = (1 / scale, step.dtype.type(self.rate) / first, 1 / np.sqrt(second))
        return {"out": np.stack(parts, -1)}

    def cycles(
        self, target: Target, windows: Mapping[str, tuple[Number, ...]], itemsize: int
    ) -> Number:
        """Cycles of one vertex."""
        del itemsize
        loops = (*["exp"] * 2, "sqrt", *["inverse"] * 3)
        return 20 + target.worker_contexts * (
            17 + sum(UNARY[op][0][0] for op in loops) + elements(windows["out"])
        )

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """An early step."""
        windows = {"step": (), "scale": (), "out": (3,)}
        ranges = {"step": (1.0, 9.0), "scale": (1.0, 9.0)}
        return (Example(cls(0.125, 0.1, 0.001), windows, ranges=ranges, larger=windows),)
