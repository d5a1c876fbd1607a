"""MaxPoolingGrad: the gradient of the largest element of each window."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ipuc.codelets.amp import as_cycles
from ipuc.codelets.cycles.pool import all_meet, vertex
from ipuc.codelets.define import (
    Array,
    Batch,
    Example,
    FieldSpec,
    FreeAxis,
    In,
    Number,
    Out,
    ceil_div,
)
from ipuc.codelets.pool_back import PoolBack, empty, inside, lead_axes
from ipuc.target import Target
from ipuc.types import Shape


@dataclass(frozen=True)
class MaxPoolGrad(PoolBack):
    """dx = the sum of dy over all windows whose largest element this is.

    An element is the largest of a window if it equals the window's result; not-a-number equals
    itself. Of several, the first in window order gets the gradient, as torch and ONNX have it, or
    each of them does, as popnn has it.

    x: [batch, channels, *reach], the forward input, as far as it exists: all that the windows
    below hold if the first is to be found, else the block itself; y and dy: [batch, channels,
    *outs], result and gradient of all windows that reach into the block; dx: [batch, channels,
    *field].

    Attributes:
        skip: place of the first element of x, per dimension.
        first: only the first of several equal elements gets the gradient.

    Source: PopLibs popnn PerformanceEstimation.hpp, MaxPoolingGrad. Finding the first is our own
    estimate: what a forward pass over those windows takes, and no more.
    """

    skip: tuple[int, ...] = ()
    first: bool = True

    loop: ClassVar[str] = "max gradient"
    name: ClassVar[str] = "MaxPoolingGrad"
    fields: ClassVar[tuple[FieldSpec, ...]] = (In("x"), In("y"), In("dy"), Out("dx"))

    def compute(self, batch: Batch, **operands: Array) -> dict[str, Array]:
        """Compare and add kernel position by kernel position, in window order."""
        outs, own, reach = (batch.windows[name][2:] for name in ("y", "dx", "x"))
        x, (y, dy) = operands["x"], (inside(operands[name], len(outs)) for name in ("y", "dy"))
        low, extents = self.region(outs, own)
        begins = [at - begin for at, begin in zip(self.skip, low, strict=True)]
        place: tuple[Any, ...] = tuple(slice(b, b + n) for b, n in zip(begins, reach, strict=True))
        known, exists = empty(x, extents), np.zeros(extents, bool)
        known[(..., *place)] = x
        exists[place] = True
        total = empty(dy, extents)
        # Not-a-number equals itself; where there is none, that need not be asked.
        unordered = y != y if (y != y).any() else None  # noqa: PLR0124
        # A product is quicker than a choice, and the same where 0 times a gradient is 0.
        finite = bool(np.isfinite(dy).all())
        wanted = np.ones_like(y, bool)
        for start in self.positions(low, outs):
            seen = self.spread(known, outs, start)
            hit = seen == y
            if unordered is not None:
                hit |= (seen != seen) & unordered  # noqa: PLR0124
            hit &= self.spread(exists, outs, start)
            if self.first:
                hit &= wanted
                wanted ^= hit
            into = self.spread(total, outs, start)
            into += hit * dy if finite else np.where(hit, dy, 0)
        return {"dx": self.block(total, low, own)}

    def free_axes(self, windows: Mapping[str, Shape]) -> tuple[FreeAxis, ...]:
        """Images and channels."""
        del windows
        return lead_axes(("dx", "x", "y", "dy"))

    def cycles(
        self, target: Target, windows: Mapping[str, tuple[Number, ...]], itemsize: int
    ) -> Number:
        """Cycles of one vertex."""
        outs = windows["y"][2:]
        made = self.backward_cycles(target, windows["dx"], outs, itemsize)
        if not self.first:
            return made
        batch, channels = windows["y"][:2]
        return made + as_cycles(
            first_cycles(target, batch, channels, self.group, outs, self.kernel, itemsize)
        )

    def edges(self, windows: Mapping[str, Shape]) -> int:
        """One vector of each field for each group of channels."""
        return 4 * int(ceil_div(windows["dx"][1], self.group))

    def flops(self, windows: Mapping[str, Shape]) -> int:
        """A comparison and an addition for each window and kernel position."""
        return 2 * math.prod(windows["y"]) * math.prod(self.kernel)

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """With ties: the first and every largest, at a border, strided and dilated."""
        windows: dict[str, Shape] = {"y": (1, 2, 2, 2), "dy": (1, 2, 2, 2), "dx": (1, 2, 3, 2)}
        larger: dict[str, Shape] = {"y": (2, 9, 2, 2), "dy": (2, 9, 2, 2), "dx": (2, 9, 3, 2)}
        kinds = {"x": "int32", "y": "int32"}
        ties = dict.fromkeys(kinds, (0.0, 2.0))
        block = ((3, 2), (2, 1), (1, 1), (1, 1))
        dilated = ((2, 2), (1, 1), (2, 1), (0, 0))
        return (
            Example(
                cls(*block, skip=(1, 0)),
                {**windows, "x": (1, 2, 4, 3)},
                kinds,
                ties,
                {**larger, "x": (2, 9, 4, 3)},
            ),
            Example(
                cls(*block, skip=(1, 1), first=False),
                {**windows, "x": (1, 2, 3, 2)},
                kinds,
                ties,
                {**larger, "x": (2, 9, 3, 2)},
            ),
            Example(
                cls(*dilated, group=2, skip=(0, 0)),
                {**windows, "x": (1, 2, 4, 3)},
                kinds,
                ties,
                {**larger, "x": (2, 9, 4, 3)},
            ),
        )


def first_cycles(
    target: Target,
    batch: Number,
    channels: Number,
    group: Number,
    outs: tuple[Number, ...],
    kernel: tuple[int, ...],
    itemsize: int,
) -> Number:
    """Cycles of finding the first largest element of each window."""
    return vertex(
        target,
        "max",
        batch=batch,
        channels=channels,
        group=group,
        sizes=outs,
        meets=[all_meet(size, k) for size, k in zip(outs, kernel, strict=True)],
        itemsize=itemsize,
    )
