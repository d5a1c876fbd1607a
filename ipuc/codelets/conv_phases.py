"""Which kernel elements meet which outputs, where data lies apart with zeros between."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Phase:
    """Outputs of one dimension that meet the same kernel elements: a convolution without spread.

    Attributes:
        first: first output.
        step: distance of its outputs.
        outs: how many they are.
        element: first kernel element.
        skip: distance of its kernel elements.
        kernel: how many they are; 0 where these outputs see nothing but zeros.
        begin: input that the first output meets with the first kernel element; may be negative.
        stride: inputs from one output to the next.
        dilation: inputs from one kernel element to the next.
    """

    first: int
    step: int
    outs: int
    element: int
    skip: int
    kernel: int
    begin: int
    stride: int
    dilation: int

    @property
    def out_slice(self) -> slice:
        """Its outputs."""
        return slice(self.first, None, self.step)

    @property
    def kernel_slice(self) -> slice:
        """Its kernel elements."""
        return slice(self.element, self.element + self.kernel * self.skip, self.skip)

    @property
    def reach(self) -> int:
        """Inputs from the first that it meets to the last."""
        return (self.outs - 1) * self.stride + (self.kernel - 1) * self.dilation + 1


def phases(
    outs: int, kernel: int, low: int, stride: int, dilation: int, spread: int
) -> list[Phase]:
    """Cut one dimension into phases.

    Output o meets kernel element k where low + o * stride + k * dilation is a multiple of `spread`;
    it does so at the input of that number.

    Args:
        outs: outputs.
        kernel: kernel elements.
        low: place that the first output sees with the first kernel element.
        stride: places from one output to the next.
        dilation: places from one kernel element to the next.
        spread: places from one input to the next.

    Returns:
        At least one phase; together they hold every output once.
    """
    step, skip = spread // math.gcd(spread, stride), spread // math.gcd(spread, dilation)
    found: list[Phase] = []
    for first in range(max(min(step, outs), 1)):
        place = low + first * stride
        meeting = (k for k in range(min(skip, kernel)) if (place + k * dilation) % spread == 0)
        element = next(meeting, kernel)
        found.append(
            Phase(
                first,
                step,
                len(range(first, outs, step)),
                element,
                skip,
                len(range(element, kernel, skip)),
                (place + element * dilation) // spread,
                step * stride // spread,
                skip * dilation // spread,
            )
        )
    return found


def met(outs: int, kernel: int, low: int, stride: int, dilation: int, spread: int) -> int:
    """Pairs of an output and a kernel element that meet; see `phases`."""
    return sum(
        phase.outs * phase.kernel for phase in phases(outs, kernel, low, stride, dilation, spread)
    )
