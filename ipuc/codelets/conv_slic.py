"""ConvPartial1xNSLIC: four kernel elements of a row at once, for groups of few channels."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from ipuc.codelets.amp import as_cycles
from ipuc.codelets.conv_vertex import ConvVertex
from ipuc.codelets.cycles import mac
from ipuc.codelets.define import Example, Number, ceil_div
from ipuc.errors import ProgramError
from ipuc.target import Target
from ipuc.types import Shape


@dataclass(frozen=True)
class ConvPartial1xNSLIC(ConvVertex):
    """As many output as input channels in a group: 1, 2 or 4; see `ConvVertex` for the rest.

    The kernel is cut into pieces of four elements of a row.

    Attributes:
        bundle: groups done at once.

    Raises:
        ProgramError: channels, strides or dilations that the vertex has no code for.

    Source: PopLibs poplin PerformanceEstimation.hpp (ConvPartial1xNSLIC), ConvVertices.cpp.
    """

    in_group: int = 4
    out_group: int = 4
    bundle: int = 1

    name: ClassVar[str] = "ConvPartial1xNSLIC"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.in_group not in (1, 2, 4) or self.in_group != self.out_group:
            raise ProgramError(
                f"{self.name} has no group of {self.in_group} x {self.out_group} channels",
                fix="take 1, 2 or 4 channels in and as many out",
            )
        if self.stride[-1] > 2 or max(self.dilation + self.spread) > 1:
            raise ProgramError(
                f"{self.name} has no stride of {self.stride[-1]} along a row with kernel dilation "
                f"{self.dilation} and input dilation {self.spread}",
                fix="take a stride of 1 or 2 and no dilation, or another vertex",
            )

    def together(self, ins: int, dims: int) -> tuple[int, tuple[int, ...]]:
        """Four elements of a kernel row."""
        del ins
        return self.in_group, tuple(4 if d == dims - 1 else 1 for d in range(dims))

    def cycles(
        self, target: Target, windows: Mapping[str, tuple[Number, ...]], itemsize: int
    ) -> Number:
        """Cycles of one vertex."""
        del itemsize
        block = self.block(windows, self.in_group, self.out_group)
        block = replace(block, groups=ceil_div(block.groups, self.bundle))
        made = mac.slic(
            target,
            block,
            in_group=self.in_group,
            bundle=self.bundle,
            stride=self.stride[-1],
            partial=self.partial_bytes,
        )
        return as_cycles(made)

    def worklists(self, kernel: tuple[int, ...], ins: int, itemsize: int) -> int:
        """One for each piece of the kernel."""
        del ins, itemsize
        return int(math.prod(kernel[:-1]) * ceil_div(kernel[-1], 4))

    @property
    def on_matrix_unit(self) -> bool:
        """It does."""
        return True

    def edges(self, windows: Mapping[str, Shape]) -> int:
        """Inputs and outputs of each bundle, weights of each piece of its kernel, one buffer."""
        groups, _, ins, *kernel = windows["weights"]
        pieces = self.worklists(tuple(kernel), ins, 2)
        return int(ceil_div(groups, self.bundle) * (2 + pieces)) + 1

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """A group of four channels at a border, bundles of single ones, and sums in halves."""
        four = {"x": (1, 1, 4, 3, 4), "weights": (1, 4, 4, 2, 3), "out": (1, 1, 4, 2, 2)}
        larger = {"x": (2, 1, 4, 6, 7), "weights": (1, 4, 4, 2, 3), "out": (2, 1, 4, 5, 5)}
        lone = {"x": (1, 5, 1, 5), "weights": (5, 1, 1, 5), "out": (1, 5, 1, 1)}
        more = {"x": (1, 5, 1, 13), "weights": (5, 1, 1, 5), "out": (1, 5, 1, 5)}
        halves, some = (
            dict.fromkeys(names, "float16") for names in (("x", "weights", "out"), ("x", "weights"))
        )
        return (
            Example(cls((1, 1), (1, 1), ((0, 0), (0, 0))), four, some, larger=larger),
            Example(cls((1, 1), (1, 1), ((0, 0), (0, 0)), "float16"), four, halves, larger=larger),
            Example(
                cls((2,), (1,), ((0, 0),), in_group=1, out_group=1, bundle=4),
                lone,
                some,
                larger=more,
            ),
        )
