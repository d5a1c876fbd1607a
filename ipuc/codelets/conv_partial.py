"""ConvPartialnx1: a block of a convolution, with the matrix unit."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ipuc.codelets.conv_itemised import ItemisedConvVertex
from ipuc.codelets.conv_vertex import vectors
from ipuc.codelets.cycles import amp
from ipuc.codelets.define import Example, Number, ceil_div
from ipuc.target import Target
from ipuc.types import Shape


@dataclass(frozen=True)
class ConvPartial(ItemisedConvVertex):
    """A convolution with any kernel on the matrix unit; see `ConvVertex` for fields and parameters.

    The unit multiplies 16 halves or 8 floats with each of its weight sets at once. A group of a
    half or a quarter as many input channels leaves room for 2 or 4 rows of the kernel.

    Source: PopLibs poplin PerformanceEstimation.hpp (ConvPartialnx1), ConvVertices.cpp.
    """

    name: ClassVar[str] = "ConvPartialnx1"
    words: ClassVar[str] = (
        "the innermost is a pair of channel groups: every kernel position loads weights"
    )

    def together(self, ins: int, dims: int) -> tuple[int, tuple[int, ...]]:
        """One chain: a group of channels, and the kernel rows that fill the unit."""
        in_group = self.in_group or int(fitting_group(ins, 2))
        fused = amp.weights_per_unit(2) // in_group
        # The outermost of two dimensions or more; a single one is a row.
        return in_group, tuple(fused if d == 0 and dims > 1 else 1 for d in range(dims))

    def terms(
        self, target: Target, windows: Mapping[str, tuple[Number, ...]], itemsize: int
    ) -> amp.Terms:
        """Terms of the cycle formula."""
        partial = self.partial_bytes
        in_group = self.in_group or fitting_group(windows["weights"][2], itemsize)
        out_group = self.out_group or amp.conv_units(target, itemsize, partial)
        block = self.block(windows, in_group, out_group)
        return amp.nx1(target, block, itemsize, partial)

    @property
    def on_matrix_unit(self) -> bool:
        """It does."""
        return True

    def worklists(self, kernel: tuple[int, ...], ins: int, itemsize: int) -> int:
        """One for each kernel element, rows that are fused counting as one."""
        in_group = self.in_group or int(fitting_group(ins, itemsize))
        fused = amp.weights_per_unit(itemsize) // in_group
        return int(ceil_div(kernel[0], fused) * math.prod(kernel[1:]))

    def edges(self, windows: Mapping[str, Shape]) -> int:
        """One vector per input group, per pair of groups, and per output group."""
        groups, outs, ins = windows["weights"][:3]
        in_group = self.in_group or int(fitting_group(ins, 4))
        return vectors(groups, ceil_div(ins, in_group), ceil_div(outs, self.out_group or 8))

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """A plain block, a strided and dilated one at two borders, a gradient, rows of halves."""
        line = {"x": (1, 1, 4, 5), "weights": (1, 2, 4, 3), "out": (1, 1, 2, 3)}
        longer = {"x": (1, 1, 40, 12), "weights": (1, 2, 40, 3), "out": (1, 1, 2, 10)}
        halves = dict.fromkeys(line, "float16")
        square = {"x": (1, 1, 6, 3, 3), "weights": (1, 2, 6, 2, 2), "out": (1, 1, 2, 2, 2)}
        deeper = {"x": (1, 1, 20, 3, 3), "weights": (1, 2, 20, 2, 2), "out": (1, 1, 2, 2, 2)}
        return (
            Example(
                cls((1, 1), (1, 1), ((0, 0), (0, 0))),
                {"x": (1, 1, 2, 4, 4), "weights": (1, 3, 2, 3, 3), "out": (1, 1, 3, 2, 2)},
                larger={"x": (1, 1, 20, 8, 8), "weights": (1, 6, 20, 3, 3), "out": (1, 1, 6, 6, 6)},
            ),
            Example(
                cls((2, 1), (1, 2), ((1, 0), (0, 1))),
                {"x": (2, 2, 3, 3, 3), "weights": (2, 2, 3, 2, 2), "out": (2, 2, 2, 2, 2)},
                larger={"x": (2, 2, 9, 7, 6), "weights": (2, 4, 9, 2, 2), "out": (2, 2, 4, 4, 5)},
            ),
            # The gradient of a stride of 2, and of 3 with a dilated kernel.
            Example(
                cls((1, 1), (1, 2), ((1, 0), (2, 1)), spread=(2, 3), in_group=2, out_group=8),
                {"x": (1, 1, 3, 2, 2), "weights": (1, 2, 3, 2, 3), "out": (1, 1, 2, 3, 3)},
                larger={"x": (1, 1, 3, 4, 3), "weights": (1, 9, 3, 2, 3), "out": (1, 1, 9, 7, 6)},
            ),
            Example(
                cls((1,), (1,), ((0, 0),)),
                line,
                {"x": "float16", "weights": "float16"},
                larger=longer,
            ),
            # Sums in floats, stored as halves.
            Example(cls((1,), (1,), ((0, 0),)), line, halves, larger=longer),
            Example(cls((1,), (1,), ((0, 0),), "float16"), line, halves, larger=longer),
            Example(
                cls((1, 1), (1, 1), ((0, 0),) * 2, "float16", in_group=4, out_group=8),
                square,
                halves,
                larger=deeper,
            ),
        )


def fitting_group(ins: Number, itemsize: int) -> Any:
    """Input channels that the unit takes at once: all it can, or the part that suffices."""
    full, ins = amp.weights_per_unit(itemsize), np.asarray(ins)
    return np.select([ins <= full // 4, ins <= full // 2], [full // 4, full // 2], full)
