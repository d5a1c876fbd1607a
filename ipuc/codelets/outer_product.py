"""OuterProduct: one row of one channel times the weights of all output channels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from ipuc.codelets.amp import as_cycles
from ipuc.codelets.conv_vertex import ConvVertex
from ipuc.codelets.cycles import mac
from ipuc.codelets.define import Example, Number, ceil_div
from ipuc.target import Target
from ipuc.types import Shape


@dataclass(frozen=True)
class OuterProduct(ConvVertex):
    """A convolution of one channel, row and kernel element; see `ConvVertex` for the parameters.

    PopLibs has a vertex for each worker, which takes its share of the row. One of ours stands for
    all of a tile.

    Source: PopLibs poplin PerformanceEstimation.hpp (OuterProduct), ConvVertices.cpp.
    """

    name: ClassVar[str] = "OuterProduct"

    def together(self, ins: int, dims: int) -> tuple[int, tuple[int, ...]]:
        """One product for each output: nothing is added."""
        del ins
        return 1, (1,) * dims

    def cycles(
        self, target: Target, windows: Mapping[str, tuple[Number, ...]], itemsize: int
    ) -> Number:
        """Cycles of one vertex."""
        out_group = self.out_group or target.vector_width(itemsize)
        return as_cycles(mac.outer_product(target, self.block(windows, 1, out_group), itemsize))

    def row_pieces(self, windows: Mapping[str, Shape], workers: int, itemsize: int) -> int:
        """Each vertex has its share of the row as its fields."""
        del windows, workers, itemsize
        return 0

    def edges(self, windows: Mapping[str, Shape]) -> int:
        """Inputs, weights, and one vector of results for each group of channels."""
        groups, outs = windows["weights"][:2]
        return int(groups * (2 + ceil_div(outs, self.out_group or 2)))

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """A row of floats and one of halves."""
        row = {"x": (1, 2, 1, 7), "weights": (2, 6, 1, 1), "out": (1, 2, 6, 7)}
        plain = ((1,), (1,), ((0, 0),))
        return (
            Example(cls(*plain, in_group=1, out_group=2), row),
            Example(
                cls(*plain, "float16", in_group=1, out_group=4), row, dict.fromkeys(row, "float16")
            ),
        )
