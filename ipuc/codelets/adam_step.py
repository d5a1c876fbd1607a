"""AdamStep: one step of Adam or AdamW, where the weight lies."""

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

_FIELDS = ("w", "m", "v", "g")


@dataclass(frozen=True)
class AdamStep(Codelet):
    """Moments m and v move towards the gradient and its square; w moves by their quotient.

    g' = g * unit + pull * w; m += share1 * (g' - m); v += share2 * (g' * g' - v);
    w = keep * w - rate * m / (sqrt(v) * spread + eps). Nothing changes where go is 0.

    Windows of w, m, v and g have one shape; factors are unit (1 by the loss scale), rate and
    spread of this training step (see AdamFactors); go is one element without axes. All is
    computed in float32 and rounded once.

    Attributes:
        share1: share of the gradient in m, 1 - beta1.
        share2: share of its square in v, 1 - beta2.
        eps: keeps the quotient finite.
        pull: weight decay as part of the gradient (Adam).
        keep: weight decay as a factor of the weight (AdamW).

    Source: the rule is PyTorch's Adam and AdamW. Cycles are our own estimate for a map expression:
    BinaryOp1DInPlace's frame and the loops of the operations (PopLibs popopsCycleEstimators.cpp)
    with one load and store for w and g, and one for each moment.
    """

    share1: float
    share2: float
    eps: float
    pull: float = 0.0
    keep: float = 1.0

    name: ClassVar[str] = "AdamStep"
    fields: ClassVar[tuple[FieldSpec, ...]] = (
        *(InOut("w"), InOut("m"), InOut("v")),
        *(In("g"), In("factors"), In("go")),
    )

    def compute(self, batch: Batch, **operands: Array) -> dict[str, Array]:
        """Take the step where go is above 0."""
        w, m, v = (operands[name] for name in ("w", "m", "v"))
        axes = (1,) * len(batch.windows["w"])
        unit, rate, spread = (
            operands["factors"][..., i].reshape(*operands["factors"].shape[:-1], *axes)
            for i in range(3)
        )
        go = operands["go"].reshape(*operands["go"].shape, *axes)
        kind, moves = w.dtype.type, go > 0
        gradient = operands["g"] * unit
        if self.pull:
            gradient += kind(self.pull) * w
        first = m + kind(self.share1) * (gradient - m)
        second = v + kind(self.share2) * (gradient * gradient - v)
        step = rate * (first / (np.sqrt(second) * spread + kind(self.eps)))
        moved = (w if self.keep == 1 else kind(self.keep) * w) - step
        return {
            "w": np.where(moves, moved, w),
            "m": np.where(moves, first, m),
            "v": np.where(moves, second, v),
        }

    def free_axes(self, windows: Mapping[str, Shape]) -> tuple[FreeAxis, ...]:
        """Every axis."""
        return pointwise(windows, _FIELDS)

    def _sums(self) -> int:
        """Additions, subtractions and multiplications of one element."""
        return 11 + 2 * (self.pull != 0) + (self.keep != 1)

    def cycles(
        self, target: Target, windows: Mapping[str, tuple[Number, ...]], itemsize: int
    ) -> Number:
        """Cycles of one vertex."""
        workers = target.worker_contexts
        loop = fused(*["add"] * self._sums(), "square", "sqrt", "div")
        cost, each = loop[0] if itemsize >= 4 else loop[1]
        cost += 4  # the moments are loaded and stored too
        per_worker = ceil_div(elements(windows["w"]), workers)
        return 11 + workers * (58 + ceil_div(per_worker, each) * cost)

    def flops(self, windows: Mapping[str, Shape]) -> int:
        """The operations of each element; a root or quotient is one."""
        return (self._sums() + 3) * int(elements(windows["w"]))

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """Adam on a vector, AdamW on a block of halves."""

        def windows(*shape: int) -> dict[str, Shape]:
            return {**dict.fromkeys(_FIELDS, shape), "factors": (3,), "go": ()}

        halves = {"w": "float16", "g": "float16"}
        ranges = {"v": (0.1, 2.0), "factors": (0.5, 2.0), "go": (-0.5, 2.0)}
        adam, adamw = cls(0.1, 0.25, 0.125, pull=0.5), cls(0.25, 0.5, 0.0625, keep=0.75)
        return (
            Example(adam, windows(5), ranges=ranges, larger=windows(65)),
            Example(adamw, windows(2, 3), halves, ranges, windows(6, 33)),
        )
