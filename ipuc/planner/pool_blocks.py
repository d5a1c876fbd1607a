"""How a dimension of a pooling, or of its gradient, is cut, and what each part must read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ipuc.planner.window import Slide, slide_parts
from ipuc.program.split import bounds
from ipuc.types import Ints


@dataclass(frozen=True, slots=True)
class Part:
    """Parts of one dimension that are alike.

    Attributes:
        index: part numbers.
        begin: first element of what each part makes.
        size: elements that each makes.
        seen: by operand: the first element that each part reads, and how many it reads.
        numbers: what the vertex is told of its place, by name.
    """

    index: Ints
    begin: Ints
    size: int
    seen: Mapping[str, tuple[Ints, int]]
    numbers: Mapping[str, int]

    @property
    def pads(self) -> tuple[int, int]:
        """Of a part of a forward pass, elements that its reach lacks at either end."""
        return self.numbers["before"], self.numbers["after"]


def covers(slides: Sequence[Slide]) -> bool:
    """Whether one window is the whole field, so that a pooling is a reduction."""
    return all(s.out == s.dilation == 1 and s.kernel == s.field and s.pad == 0 for s in slides)


def forward_parts(slide: Slide, count: int, operands: Sequence[str] = ("x",)) -> list[Part]:
    """Cut the outputs of a pooling.

    Args:
        slide: the window.
        count: parts.
        operands: names of what is read alike.

    Returns:
        Parts with the numbers `before` and `after`: elements that the reach lacks at either end.
    """
    return [
        Part(
            part.index,
            part.out_begin,
            part.out_size,
            dict.fromkeys(operands, (part.in_begin, part.in_size)),
            {"before": part.pads[0], "after": part.pads[1]},
        )
        for part in slide_parts(slide, count)
    ]


def gradient_parts(slide: Slide, count: int, reach: str = "", own: str = "") -> list[Part]:
    """Cut the input of a pooling for its gradient.

    Args:
        slide: the window, as the forward pass has it.
        count: parts.
        reach: name of an operand that is read wherever the windows of the part reach; "" if none
            is.
        own: name of an operand that is read only where the part writes.

    Returns:
        Parts with the numbers `lead`, the place of the first element, `outs`, the windows that
        reach into the part (read of the operands "y" and "dy"), and `skip`, the place of the first
        element of `reach` or `own`. Places are counted from where the first window begins.
    """
    edges = bounds(slide.field, count)
    begin, end = edges[:-1], edges[1:]
    span = (slide.kernel - 1) * slide.dilation
    first = np.maximum(-(-(begin + slide.pad - span) // slide.stride), 0)
    last = np.minimum((end - 1 + slide.pad) // slide.stride, slide.out - 1)
    outs = np.maximum(last - first + 1, 0)
    none = outs == 0
    first = np.where(none, 0, first)
    start = np.where(none, begin, first * slide.stride - slide.pad)
    low = np.clip(start, 0, slide.field)
    stop = np.clip(start + (outs - 1) * slide.stride + span + 1, low, slide.field)
    if own:
        low, stop = begin, end
    stop = np.where(none & (not own), low, stop)
    columns = [end - begin, outs, begin - start, stop - low, low - start]
    keys = np.stack(columns, axis=1)
    found: list[Part] = []
    for key in np.unique(keys[end > begin], axis=0):
        at = np.flatnonzero((keys == key).all(axis=1))
        size, windows, lead, taken, skip = (int(n) for n in key)
        seen = dict.fromkeys(("y", "dy"), (first[at], windows))
        if reach or own:
            seen[reach or own] = (low[at], taken)
        numbers = {"lead": lead, "outs": windows, "skip": skip}
        found.append(Part(at, begin[at], size, seen, numbers))
    return found


def fullest_part(parts: Sequence[Part]) -> Part:
    """One that makes most, and of those one that reads most."""
    return max(parts, key=lambda part: (part.size, sum(n for _, n in part.seen.values())))


def most_read(parts: Sequence[Part]) -> dict[str, int]:
    """The most that any part reads, by operand."""
    return {name: max(part.seen[name][1] for part in parts) for name in parts[0].seen}


def read_in_pairs(parts: Sequence[Part], name: str) -> float:
    """The most that any part must be sent of an operand where neighbours in pairs share a bus.

    What both read counts half. Of an odd number of parts the first or the last has no neighbour.
    """
    order = np.argsort(np.concatenate([part.index for part in parts]))
    begin = np.concatenate([part.seen[name][0] for part in parts])[order]
    counts = [len(part.index) for part in parts]
    size = np.repeat([part.seen[name][1] for part in parts], counts)[order]
    both = np.maximum((begin + size)[:-1] - begin[1:], 0).min(initial=size.max())
    if len(order) == 1:
        return float(size[0])
    alone = max(size[0], size[-1]) if len(order) % 2 else 0
    return max(float(size.max() - both / 2), float(alone))


def columns(parts: Sequence[Part]) -> dict[str, NDArray[np.int64]]:
    """Size and numbers of many parts, as columns."""
    made = {"size": np.array([part.size for part in parts], np.int64)}
    for name in parts[0].numbers:
        made[name] = np.array([part.numbers[name] for part in parts], np.int64)
    return made
