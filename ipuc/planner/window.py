"""Sliding windows: which input a part of the output needs, and where the border cuts it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ipuc.program.split import bounds
from ipuc.types import Ints


@dataclass(frozen=True, slots=True)
class Slide:
    """One dimension of a sliding window.

    Attributes:
        field: input extent.
        out: output extent.
        kernel: window extent.
        stride: between outputs.
        dilation: between window elements.
        pad: zeros before the first input, in dilated places; may be negative for a part of a
            kernel.
        spread: dilation of the input. Input i meets output o and kernel element k where
            i * spread = o * stride + k * dilation - pad.
    """

    field: int
    out: int
    kernel: int
    stride: int = 1
    dilation: int = 1
    pad: int = 0
    spread: int = 1

    def reach(self, outputs: int | Ints, kernel: int | Ints | None = None) -> Any:
        """Most input elements that a run of outputs needs, of some of the kernel or of all."""
        elements = self.kernel if kernel is None else kernel
        span = (np.asarray(outputs) - 1) * self.stride + (elements - 1) * self.dilation
        return np.minimum(span // self.spread + 1, self.field)

    def part(self, begin: int, kernel: int) -> Slide:
        """The same window with `kernel` of its elements, from `begin` on."""
        return replace(self, kernel=kernel, pad=self.pad - begin * self.dilation)


@dataclass(frozen=True, slots=True)
class SlideParts:
    """Parts of one dimension that see the border alike.

    Attributes:
        index: part numbers.
        out_begin: first output of each part.
        out_size: outputs of each part.
        in_begin: first input element that exists, of each part.
        in_size: input elements of each part.
        pads: missing places before and after.
    """

    index: Ints
    out_begin: Ints
    out_size: int
    in_begin: Ints
    in_size: int
    pads: tuple[int, int]


def slide_parts(slide: Slide, parts: int, grain: int = 1) -> list[SlideParts]:
    """Split the outputs by the split rule and group the parts by size and border."""
    edges = bounds(slide.out, parts, grain)
    begin, end = edges[:-1], edges[1:]
    low = begin * slide.stride - slide.pad
    high = (end - 1) * slide.stride + (slide.kernel - 1) * slide.dilation + 1 - slide.pad
    spread = slide.spread
    first, last = (np.clip(-(-place // spread), 0, slide.field) for place in (low, high))
    size = last - first
    before, after = first * spread - low, high - (last - 1) * spread - 1
    empty = size <= 0  # a part that sees nothing but padding
    first, size = np.where(empty, 0, first), np.where(empty, 0, size)
    before, after = np.where(empty, high - low, before), np.where(empty, 0, after)
    keys = np.stack([end - begin, size, before, after], axis=1)
    found: list[SlideParts] = []
    for key in np.unique(keys[end > begin], axis=0):
        at = np.flatnonzero((keys == key).all(axis=1))
        outs, ins, pad_low, pad_high = (int(k) for k in key)
        found.append(SlideParts(at, begin[at], outs, first[at], ins, (pad_low, pad_high)))
    return found
