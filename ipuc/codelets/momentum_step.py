"""MomentumStep: one step of gradient descent with momentum, where the weight lies."""

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
    InOut,
    Number,
    ceil_div,
    elements,
    pointwise,
)
from ipuc.codelets.loops import fused
from ipuc.target import Target
from ipuc.types import Shape

_FIELDS = ("w", "v", "g")


@dataclass(frozen=True)
class MomentumStep(Codelet):
    """v = momentum * v + g * unit + decay * w; w = w - rate * v. Nothing changes where go is 0.

    Windows of w, v and g have one shape; unit (1 by the loss scale) and go are one element each,
    without axes. All is computed in float32 and rounded once.

    Attributes:
        rate: learning rate.
        momentum: what stays of the velocity v.
        decay: weight decay.

    Source: the rule is PyTorch's SGD with momentum. Cycles are our own estimate for a map
    expression: BinaryOp1DInPlace's frame and the loops of the operations (PopLibs
    popopsCycleEstimators.cpp) with one load and store for w and g, and one for v.
    """

    rate: float
    momentum: float
    decay: float = 0.0

    name: ClassVar[str] = "MomentumStep"
    fields: ClassVar[tuple[FieldSpec, ...]] = (
        *(InOut("w"), InOut("v")),
        *(In("g"), In("unit"), In("go")),
    )

    def compute(self, batch: Batch, **operands: Array) -> dict[str, Array]:
        """Take the step where go is above 0."""
        w, v = operands["w"], operands["v"]
        axes = (1,) * len(batch.windows["w"])
        unit, go = (operands[name].reshape(*operands[name].shape, *axes) for name in ("unit", "go"))
        kind, moves = w.dtype.type, go > 0
        step = operands["g"] * unit
        if self.decay:
            step += kind(self.decay) * w
        step += kind(self.momentum) * v
        return {"w": np.where(moves, w - kind(self.rate) * step, w), "v": np.where(moves, step, v)}

    def free_axes(self, windows: Mapping[str, Shape]) -> tuple[FreeAxis, ...]:
        """Every axis."""
        return pointwise(windows, _FIELDS)

    def cycles(
        self, target: Target, windows: Mapping[str, tuple[Number, ...]], itemsize: int
    ) -> Number:
        """Cycles of one vertex."""
        workers = target.worker_contexts
        cost, each = fused(*["add"] * (7 if self.decay else 5))[0 if itemsize >= 4 else 1]
        cost += 2  # v is loaded and stored too
        per_worker = ceil_div(elements(windows["w"]), workers)
        return 11 + workers * (58 + ceil_div(per_worker, each) * cost)

    def flops(self, windows: Mapping[str, Shape]) -> int:
        """Products and sums of each element."""
        return (7 if self.decay else 5) * int(elements(windows["w"]))

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """A vector, and a block of halves with a decay."""
        vector: dict[str, Shape] = {**dict.fromkeys(_FIELDS, (5,)), "unit": (), "go": ()}
        block: dict[str, Shape] = {**dict.fromkeys(_FIELDS, (2, 3)), "unit": (), "go": ()}
        longer: dict[str, Shape] = {**dict.fromkeys(_FIELDS, (65,)), "unit": (), "go": ()}
        wider: dict[str, Shape] = {**dict.fromkeys(_FIELDS, (6, 33)), "unit": (), "go": ()}
        halves = {"w": "float16", "g": "float16"}
        away = {"unit": (0.5, 2.0), "go": (-0.5, 2.0)}
        return (
            Example(cls(0.25, 0.75), vector, ranges=away, larger=longer),
            Example(cls(0.25, 0.5, 0.125), block, halves, away, wider),
        )
