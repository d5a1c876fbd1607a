"""SumPoolingGrad: the gradient of a sum or mean over each window."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

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
from ipuc.codelets.pool_back import PoolBack, empty, lead_axes
from ipuc.target import Target
from ipuc.types import Shape


@dataclass(frozen=True)
class SumPoolGrad(PoolBack):
    """dx = scale times the sum of dy over all windows that hold the element.

    dy: [batch, channels, *outs], all windows that reach into the block, one after another along
    each dimension; dx: [batch, channels, *field].

    Attributes:
        scale: what each element of dy is multiplied by.

    Source: PopLibs popnn PerformanceEstimation.hpp: SumPooling on the data gradient's parameters.
    """

    scale: float = 1.0

    loop: ClassVar[str] = "sum"
    name: ClassVar[str] = "SumPoolingGrad"
    fields: ClassVar[tuple[FieldSpec, ...]] = (In("dy"), Out("dx"))

    def compute(self, batch: Batch, **operands: Array) -> dict[str, Array]:
        """Add kernel position by kernel position."""
        dy = operands["dy"]
        outs, own = batch.windows["dy"][2:], batch.windows["dx"][2:]
        low, extents = self.region(outs, own)
        total = empty(dy, extents)
        for start in self.positions(low, outs):
            seen = self.spread(total, outs, start)
            seen += dy
        made = self.block(total, low, own)
        return {"dx": made if self.scale == 1 else made * dy.dtype.type(self.scale)}

    def free_axes(self, windows: Mapping[str, Shape]) -> tuple[FreeAxis, ...]:
        """Images and channels."""
        del windows
        return lead_axes(("dx", "dy"))

    def cycles(
        self, target: Target, windows: Mapping[str, tuple[Number, ...]], itemsize: int
    ) -> Number:
        """Cycles of one vertex."""
        return self.backward_cycles(target, windows["dx"], windows["dy"][2:], itemsize)

    def edges(self, windows: Mapping[str, Shape]) -> int:
        """One vector of each field for each group of channels."""
        return 2 * int(ceil_div(windows["dx"][1], self.group))

    def flops(self, windows: Mapping[str, Shape]) -> int:
        """One addition for each window and kernel position."""
        return math.prod(windows["dy"]) * math.prod(self.kernel)

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """Overlapping windows, dilated ones, and a block that begins before its first window."""
        shape: dict[str, Shape] = {"dy": (1, 3, 2, 2), "dx": (1, 3, 3, 2)}
        larger: dict[str, Shape] = {"dy": (2, 30, 2, 2), "dx": (2, 30, 3, 2)}
        line: dict[str, Shape] = {"dy": (1, 2, 2), "dx": (1, 2, 6)}
        return (
            Example(cls((3, 2), (2, 1), (1, 1), (1, 1), scale=0.25), shape, larger=larger),
            Example(cls((2, 2), (1, 1), (2, 1), (0, 0)), shape, larger=larger),
            Example(
                cls((2,), (3,), (1,), (-1,), group=2),
                line,
                dict.fromkeys(line, "float16"),
                larger={"dy": (2, 9, 2), "dx": (2, 9, 6)},
            ),
        )
