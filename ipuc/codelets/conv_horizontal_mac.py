"""ConvPartialHorizontalMac: a block of a convolution as dot products over input channels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from ipuc.codelets.conv_itemised import ItemisedConvVertex
from ipuc.codelets.conv_vertex import vectors
from ipuc.codelets.cycles import mac
from ipuc.codelets.cycles.amp import Terms
from ipuc.codelets.define import Example, Number, ceil_div
from ipuc.target import Target
from ipuc.types import Shape


@dataclass(frozen=True)
class ConvPartialHorizontalMac(ItemisedConvVertex):
    """Dot products with the vector unit; see `ConvVertex` for fields and other parameters.

    Attributes:
        single: the form for halves with sums in floats, one row of outputs and a kernel of one
            element: the matrix product.

    Source: PopLibs poplin PerformanceEstimation.hpp (ConvPartialHorizontalMac and its 1x1 form),
    ConvVertices.cpp.
    """

    single: bool = False

    name: ClassVar[str] = "ConvPartialHorizontalMac"
    words: ClassVar[str] = (
        "the innermost is a pair of channel groups: a dot product for each output"
    )

    def together(self, ins: int, dims: int) -> tuple[int, tuple[int, ...]]:
        """One dot product: its own accumulators are floats."""
        return self.in_group or ins, (1,) * dims

    def terms(
        self, target: Target, windows: Mapping[str, tuple[Number, ...]], itemsize: int
    ) -> Terms:
        """Terms of the cycle formula."""
        in_group = self.in_group or windows["weights"][2]
        block = self.block(windows, in_group, self._out_group)
        return mac.horizontal(target, block, itemsize, self.partial_bytes, single=self.single)

    def worklists(self, kernel: tuple[int, ...], ins: int, itemsize: int) -> int:
        """One for each kernel element; they are all alike where the field is one row."""
        return 1 if self.single else super().worklists(kernel, ins, itemsize)

    @property
    def _out_group(self) -> int:
        """Dot products made at once: two where results are halves."""
        return self.out_group or (1 if self.partial_bytes >= 4 else 2)

    def edges(self, windows: Mapping[str, Shape]) -> int:
        """One vector per input group, per pair of groups, and per output group."""
        groups, outs, ins = windows["weights"][:3]
        return vectors(groups, ceil_div(ins, self.in_group or ins), ceil_div(outs, self._out_group))

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """Floats at a border, a gradient, halves with either kind of sums, and the single row."""
        field = {"x": (1, 2, 3, 3, 3), "weights": (2, 2, 3, 2, 2), "out": (1, 2, 2, 2, 2)}
        larger = {"x": (2, 2, 9, 7, 6), "weights": (2, 4, 9, 2, 2), "out": (2, 2, 4, 4, 5)}
        halves = dict.fromkeys(field, "float16")
        spread = {"x": (1, 1, 3, 2), "weights": (1, 2, 3, 3), "out": (1, 1, 2, 5)}
        row = {"x": (1, 1, 6, 4), "weights": (1, 2, 6, 1), "out": (1, 1, 2, 4)}
        border = ((2, 1), (1, 2), ((1, 0), (0, 1)))
        return (
            Example(cls(*border, in_group=2), field, larger=larger),
            Example(cls(*border, "float16", in_group=2), field, halves, larger=larger),
            Example(cls((1,), (1,), ((1, 2),), spread=(3,)), spread),
            Example(cls((1,), (1,), ((0, 0),), single=True), row, halves),
        )
