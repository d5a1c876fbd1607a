"""Addresses: where on each tile every variable and message buffer lies, and what is left unused.

Code and tables begin at address 0. A buffer lies at the lowest address at which nothing lies that
is alive at the same time, so buffers whose lives do not meet share memory. Results of the matrix
unit lie in interleaved memory, and what a vertex reaches in one cycle lies in different memory
elements: both leave gaps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ipuc.codelets.define import Codelet
from ipuc.target import Target
from ipuc.types import Ints

Flags = NDArray[np.bool_]

#: Every address is a multiple of this, and of the larger one where the matrix unit writes.
#: Source: the alignment of PopLibs' vertex fields.
ALIGNMENT, MATRIX_ALIGNMENT = 8, 16
#: Holes of a tile that are filled with what is always live: the largest of them.
_HOLES = 12


@dataclass(slots=True)
class Buffer:
    """Something that needs memory, for a while or always.

    Attributes:
        size: bytes on each tile; 0 where it has no part: int64[tiles].
        alive: during which steps: bool[steps].
        always: it is never given up.
        interleaved: it must lie in interleaved memory.
        apart: numbers of buffers with which it may share no memory element.
    """

    size: Ints
    alive: Flags
    always: bool = False
    interleaved: bool = False
    apart: set[int] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Placement:
    """Addresses of all buffers.

    Attributes:
        begins: first address of each: int64[buffers, tiles]; means nothing where it has no bytes.
        end: one past the highest address that is ever used: int64[tiles].
    """

    begins: Ints
    end: Ints


def place(target: Target, floor: Ints, buffers: Sequence[Buffer]) -> Placement:
    """Give every buffer an address on every tile.

    Args:
        target: says where interleaved memory begins, and how large memory elements are.
        floor: end of code and tables: int64[tiles].
        buffers: in any order.

    Returns:
        Of several arrangements the one that ends lowest, tile by tile: what is always live below
        the rest or in its holes; of the rest the largest first, the
        longest-lived first, or first what is apart from interleaved buffers.
    """
    if not buffers:
        return Placement(np.zeros((0, len(floor)), np.int64), floor.copy())
    alive = np.stack([buffer.alive for buffer in buffers]).astype(np.float32)
    # A product of floats, as NumPy has no fast one of integers.
    meet = (alive @ alive.T) > 0
    size = np.stack([buffer.size for buffer in buffers])
    largest = size.max(axis=1)
    free = np.array([not buffer.interleaved for buffer in buffers])
    beside = np.array([any(not free[n] for n in buffer.apart) for buffer in buffers])
    orders = (
        np.lexsort((-largest, free)),
        np.lexsort((-largest, -alive.sum(axis=1), free)),
        # What must not lie beside the matrix unit's results finds room below them.
        np.lexsort((-largest, ~beside, free)),
    )
    always = np.array([buffer.always for buffer in buffers])
    tied = np.array([bool(buffer.apart) or buffer.interleaved for buffer in buffers])
    tight = np.array([any(always[n] for n in buffer.apart) for buffer in buffers])
    stacked = np.flatnonzero(always & free & ~tight)
    filling = np.flatnonzero(always & ~tied)
    whole = -(-size // ALIGNMENT) * ALIGNMENT
    below = -(-floor // ALIGNMENT) * ALIGNMENT + np.cumsum(whole[stacked], axis=0)
    tried: list[tuple[Ints, Ints]] = []
    for order in orders:
        begins = np.zeros_like(size)
        begins[stacked] = below - whole[stacked]
        end = floor.copy()
        for number in stacked.tolist():
            np.maximum(end, begins[number] + size[number], out=end, where=size[number] > 0)
        rest = order[~np.isin(order, stacked)]
        tried.append(_first_fit(target, end, buffers, (meet, begins, size), rest.tolist()))
        begins = np.zeros_like(size)
        rest = order[~np.isin(order, filling)]
        made = _first_fit(target, floor, buffers, (meet, begins, size), rest.tolist())
        tried.append(_fill(floor, made, size, rest, filling[np.argsort(-largest[filling])]))
    ends = np.stack([end for _, end in tried])
    best = ends.argmin(axis=0)
    begins = np.choose(best, [begins for begins, _ in tried])
    return Placement(begins, ends.min(axis=0))


def _first_fit(
    target: Target,
    floor: Ints,
    buffers: Sequence[Buffer],
    state: tuple[Flags, Ints, Ints],
    order: list[int],
) -> tuple[Ints, Ints]:
    """Place buffers one by one above a floor: (begins, end of all).

    Args:
        target: the machine.
        floor: int64[tiles]; buffers that are not in the order lie below it.
        buffers: all of them.
        state: which buffers are alive together, bool[buffers, buffers]; begins so far and sizes,
            int64[buffers, tiles].
        order: numbers of the buffers to place.
    """
    meet, begins, size = state
    placed = np.zeros(len(buffers), bool)
    stays = ~np.isin(np.arange(len(buffers)), order)
    end = floor.copy()
    for number in order:
        buffer = buffers[number]
        near = np.zeros(len(buffers), bool)
        near[list(buffer.apart)] = True
        near &= placed | stays
        others = np.flatnonzero((placed & meet[number]) | near)
        low, high = begins[others], begins[others] + size[others]
        wide = near[others]
        if wide.any():
            low[wide], high[wide] = _elements(target, low[wide], high[wide])
        align = MATRIX_ALIGNMENT if buffer.interleaved else ALIGNMENT
        least = np.maximum(floor, target.interleaved_start_bytes) if buffer.interleaved else floor
        begins[number] = _lowest(least, buffer.size, low, high, align)
        np.maximum(end, begins[number] + buffer.size, out=end, where=buffer.size > 0)
        placed[number] = True
    return begins, end


def _fill(
    floor: Ints, made: tuple[Ints, Ints], size: Ints, placed: Ints, filling: Ints
) -> tuple[Ints, Ints]:
    """Put what is always live where nothing else ever lies, and the rest on top.

    Args:
        floor: where holes may begin: int64[tiles].
        made: begins of all buffers, of which those in `placed` count, and the end of these.
        size: int64[buffers, tiles].
        placed: numbers of the buffers that have addresses.
        filling: numbers of those that have none yet, in order.
    """
    begins, end = made
    low = np.where(size[placed] > 0, begins[placed], np.iinfo(np.int64).max)
    order = np.argsort(low, axis=0)
    low = np.take_along_axis(low, order, axis=0)
    high = np.take_along_axis(begins[placed] + size[placed], order, axis=0)
    # What has no bytes comes last, and ends nothing.
    high[low == np.iinfo(np.int64).max] = 0
    reach = np.maximum.accumulate(np.vstack([floor[None], high]), axis=0)
    first = -(-reach[:-1] // ALIGNMENT) * ALIGNMENT
    room = np.where(low == np.iinfo(np.int64).max, 0, np.maximum(low - first, 0))
    largest = np.argsort(-room, axis=0)[:_HOLES]
    first = np.take_along_axis(first, largest, axis=0)
    room = np.take_along_axis(room, largest, axis=0)
    # The lowest hole is filled first, and above all else there is room without end.
    order = np.argsort(first, axis=0)
    top = -(-end // ALIGNMENT) * ALIGNMENT
    first = np.vstack([np.take_along_axis(first, order, axis=0), top])
    room = np.vstack([np.take_along_axis(room, order, axis=0), np.full_like(end, 1 << 60)])
    tiles = np.arange(len(end))
    for number in filling.tolist():
        need = -(-size[number] // ALIGNMENT) * ALIGNMENT
        hole = np.argmax(room >= need, axis=0)
        begins[number] = first[hole, tiles]
        first[hole, tiles] += need
        room[hole, tiles] -= need
        end = np.where(size[number] > 0, np.maximum(end, begins[number] + size[number]), end)
    return begins, end


def _lowest(least: Ints, size: Ints, low: Ints, high: Ints, align: int) -> Ints:
    """Lowest aligned address from `least` on where `size` bytes meet none of the intervals.

    Args:
        least: int64[tiles].
        size: int64[tiles]; where it is 0 any address will do.
        low: begins of the intervals, int64[n, tiles].
        high: their ends; those that end where they begin are none.
        align: of the address.
    """
    at = -(-least // align) * align
    wide = high > low
    while True:
        # What overlaps now still does at any address below its end, so none of those is passed by.
        hit = wide & (low < at + size) & (high > at) & (size > 0)
        over = np.where(hit, high, 0).max(axis=0, initial=0)
        if not over.any():
            return at
        at = np.where(over > at, -(-over // align) * align, at)


def _elements(target: Target, begins: Ints, ends: Ints) -> tuple[Ints, Ints]:
    """The memory elements that intervals touch: from the first byte of one to the end of another.

    Interleaved memory consists of pairs of elements, whose words take turns.
    """
    there = target.interleaved_start_bytes

    def cut(address: Ints) -> tuple[Ints, Ints]:
        beyond = address >= there
        size = target.memory_element_bytes * np.where(beyond, 2, 1)
        base = np.where(beyond, there, 0)
        return base + (address - base) // size * size, size

    first, _ = cut(begins)
    last, size = cut(np.maximum(ends - 1, 0))
    wide = ends > begins
    return np.where(wide, first, begins), np.where(wide, last + size, ends)


#: Vertices whose inputs must lie apart from their results, and those that read two inputs at once.
#: Source: the constraints that PopLibs' codelets declare (poplin: ConvPartial1x1Out,
#: ConvPartialnx1, ConvPartial1xNSLIC; ConvPartialHorizontalMac, ConvPartialVerticalMac).
_INPUT_AND_RESULT = ("ConvPartial1x1Out", "ConvPartialnx1", "ConvPartial1xNSLIC")
_INPUT_AND_WEIGHTS = ("ConvPartialHorizontalMac", "ConvPartialVerticalMac")
#: These write through a buffer of their own, and not into interleaved memory.
_BUFFERED = ("ConvPartial1xNSLIC",)


def fields_apart(codelet: Codelet) -> tuple[tuple[str, str], ...]:
    """Pairs of fields that a vertex reaches in one cycle: they share no memory element."""
    if codelet.name in _INPUT_AND_RESULT:
        return (("x", "out"),)
    if codelet.name in _INPUT_AND_WEIGHTS:
        return (("x", "weights"),)
    if codelet.name != "MatMulPartial":
        return ()
    if codelet.on_matrix_unit:
        held = codelet.parameters()["swap"]
        data = {False: ("a",), True: ("b",)}.get(held, ("a", "b"))
        return tuple((name, "out") for name in data)
    return (("a", "b"),) if codelet.parameters()["method"] == "HMAC" else ()


def fields_interleaved(codelet: Codelet) -> tuple[str, ...]:
    """Fields that must lie in interleaved memory: results of the matrix unit.

    Source: the fields of PopLibs' ConvPartial1x1Out and ConvPartialnx1.
    """
    if not codelet.on_matrix_unit or codelet.name in _BUFFERED:
        return ()
    return tuple(spec.name for spec in codelet.fields if spec.writes)


__all__ = ["Buffer", "Placement", "fields_apart", "fields_interleaved", "place"]
