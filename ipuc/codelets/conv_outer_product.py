"""OuterProduct: one input channel times all output channels, without sums."""

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
    """A row of inputs times a column of weights; see `ConvVertex` for fields and parameters.

    One image, one input channel, a kernel of one element. PopLibs has a vertex for each worker,
    which takes its share of the row; one of ours stands for all of a tile.

    Source: PopLibs poplin codelets OuterProduct, PerformanceEstimation.hpp.
    """

    name: ClassVar[str] = "OuterProduct"

    def together(self, ins: int, dims: int) -> tuple[int, tuple[int, ...]]:
        """Nothing is added."""
        del ins
        return 1, (1,) * dims

    def cycles(
        self, target: Target, windows: Mapping[str, tuple[Number, ...]], itemsize: int
    ) -> Number:
        """Cycles of one vertex."""
        block = self.block(windows, 1, self.out_group or 8 // itemsize)
        return as_cycles(mac.outer_product(target, block, itemsize))

    def row_pieces(self, windows: Mapping[str, Shape], workers: int, itemsize: int) -> int:
        """None: a worker's share of the row is what its fields hold."""
        del windows, workers, itemsize
        return 0

    def edges(self, windows: Mapping[str, Shape]) -> int:
        """The row, the column, and one vector of results for each group of channels."""
        groups, outs, _ = windows["weights"][:3]
        return int(groups * (2 + ceil_div(outs, self.out_group or 4)))

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """Floats and halves."""
        row = {"x": (1, 2, 1, 7), "weights": (2, 4, 1, 1), "out": (1, 2, 4, 7)}
        larger = {"x": (1, 2, 1, 40), "weights": (2, 12, 1, 1), "out": (1, 2, 12, 40)}
        plain = ((1,), (1,), ((0, 0),))
        return (
            Example(cls(*plain, in_group=1, out_group=2), row, larger=larger),
            Example(
                cls(*plain, "float16", in_group=1, out_group=4),
                row,
                dict.fromkeys(row, "float16"),
                larger=larger,
            ),
        )
