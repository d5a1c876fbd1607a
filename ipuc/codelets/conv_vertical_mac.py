"""ConvPartialVerticalMac: a depthwise convolution, several groups at once."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from ipuc.codelets.amp import as_cycles
from ipuc.codelets.conv_vertex import ConvVertex, vectors
from ipuc.codelets.cycles import mac
from ipuc.codelets.define import Example, Number, ceil_div
from ipuc.target import Target
from ipuc.types import Shape


@dataclass(frozen=True)
class ConvPartialVerticalMac(ConvVertex):
    """One input and one output channel in every group; see `ConvVertex` for other parameters.

    The lanes of the vector unit are groups. Each worker has sums of its own, which are added up at
    the end.

    Attributes:
        bundle: groups done at once.

    Source: PopLibs poplin PerformanceEstimation.hpp (ConvPartialVerticalMac), ConvVertices.cpp.
    """

    bundle: int = 4

    name: ClassVar[str] = "ConvPartialVerticalMac"

    def together(self, ins: int, dims: int) -> tuple[int, tuple[int, ...]]:
        """One row of the kernel, as long as any."""
        del ins
        return 1, tuple(1 << 30 if d == dims - 1 else 1 for d in range(dims))

    def cycles(
        self, target: Target, windows: Mapping[str, tuple[Number, ...]], itemsize: int
    ) -> Number:
        """Cycles of one vertex."""
        del itemsize
        block = self.block(windows, 1, 1)
        block = replace(block, groups=ceil_div(block.groups, self.bundle))
        return as_cycles(mac.vertical(target, block, self.bundle, self.partial_bytes))

    def row_pieces(self, windows: Mapping[str, Shape], workers: int, itemsize: int) -> int:
        """An item for each output and kernel row."""
        del workers, itemsize
        block = self.block(windows, 1, 1)
        return int(block.rows * block.width * math.prod(block.kernel[:-1]))

    def edges(self, windows: Mapping[str, Shape]) -> int:
        """One vector of inputs, weights and outputs for each bundle, and the workers' sums."""
        groups, outs, ins = windows["weights"][:3]
        return vectors(ceil_div(groups, self.bundle), ins, outs) + 1

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """A block at a border, a gradient of a stride, and sums in halves."""
        field = {"x": (1, 5, 1, 3, 3), "weights": (5, 1, 1, 2, 2), "out": (1, 5, 1, 2, 2)}
        larger = {"x": (2, 9, 1, 7, 6), "weights": (9, 1, 1, 2, 2), "out": (2, 9, 1, 4, 5)}
        halves = dict.fromkeys(field, "float16")
        spread = {"x": (1, 4, 1, 2), "weights": (4, 1, 1, 3), "out": (1, 4, 1, 5)}
        border = ((2, 1), (1, 2), ((1, 0), (0, 1)))
        some = dict.fromkeys(("x", "weights"), "float16")
        return (
            Example(cls(*border), field, some, larger=larger),
            Example(cls(*border, "float16", bundle=8), field, halves, larger=larger),
            Example(cls((1,), (1,), ((1, 2),), spread=(3,)), spread, some),
        )
