"""ConvPartial1x1Out: one long row of outputs, a kernel of one element, with the matrix unit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from ipuc.codelets.conv_itemised import ItemisedConvVertex
from ipuc.codelets.conv_vertex import vectors
from ipuc.codelets.cycles import amp
from ipuc.codelets.define import Example, Number, ceil_div
from ipuc.target import Target
from ipuc.types import Shape


@dataclass(frozen=True)
class ConvPartial1x1Out(ItemisedConvVertex):
    """A matrix product on the matrix unit; see `ConvVertex` for fields and parameters.

    The field is one row, the kernel one element, and a group has all the channels the unit takes.

    Source: PopLibs poplin PerformanceEstimation.hpp (ConvPartial1x1Out), ConvVertices.cpp.
    """

    name: ClassVar[str] = "ConvPartial1x1Out"
    words: ClassVar[str] = "pairs of channel groups that add to sums, then those that set them"

    def together(self, ins: int, dims: int) -> tuple[int, tuple[int, ...]]:
        """A group of channels fills the unit."""
        del ins
        return self.in_group or amp.weights_per_unit(2), (1,) * dims

    def terms(
        self, target: Target, windows: Mapping[str, tuple[Number, ...]], itemsize: int
    ) -> amp.Terms:
        """Terms of the cycle formula."""
        partial = self.partial_bytes
        in_group = self.in_group or amp.weights_per_unit(itemsize)
        out_group = self.out_group or amp.conv_units(target, itemsize, partial)
        block = self.block(windows, in_group, out_group)
        return amp.one_by_one(target, block, itemsize, partial)

    @property
    def on_matrix_unit(self) -> bool:
        """It does."""
        return True

    def edges(self, windows: Mapping[str, Shape]) -> int:
        """One vector per input group, per pair of groups, and per output group."""
        groups, outs, ins = windows["weights"][:3]
        return vectors(
            groups, ceil_div(ins, self.in_group or 8), ceil_div(outs, self.out_group or 8)
        )

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """A row of floats, and rows of halves with sums in floats and in halves."""
        row = {"x": (1, 2, 5, 7), "weights": (2, 3, 5, 1), "out": (1, 2, 3, 7)}
        halves = dict.fromkeys(row, "float16")
        deep = {"x": (1, 1, 40, 3), "weights": (1, 2, 40, 1), "out": (1, 1, 2, 3)}
        deeper = {"x": (1, 1, 80, 30), "weights": (1, 9, 80, 1), "out": (1, 1, 9, 30)}
        plain = ((1,), (1,), ((0, 0),))
        return (
            Example(cls(*plain, in_group=8, out_group=8), row),
            Example(cls(*plain, in_group=16, out_group=8), row, halves),
            Example(cls(*plain, "float16", in_group=16, out_group=16), deep, halves, larger=deeper),
        )
