"""Bytes that every tile receives and sends in a superstep, from the real mapping and fields.

A tile receives the union of the remote elements that its vertices read; an element that many
tiles read is sent once. What a vertex writes for another tile is sent home afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ipuc.program.family import Access, VertexFamily
from ipuc.program.messages import Span, merge
from ipuc.program.program import Program
from ipuc.program.variables import TileMapping, Variable
from ipuc.types import Ints


@dataclass(slots=True)
class Traffic:
    """Bytes of one exchange phase.

    Attributes:
        received: bytes that each tile receives: int64[tiles].
        sent: bytes that each tile sends, multicast counted once: int64[tiles].
        paired: bytes that both tiles of a pair receive alike, for each tile: int64[tiles].
        fragments: contiguous pieces that each tile receives: int64[tiles].
        sends: contiguous pieces that each tile sends, multicast counted once: int64[tiles].
    """

    received: Ints
    sent: Ints
    paired: Ints
    fragments: Ints
    sends: Ints

    @staticmethod
    def none(tiles: int) -> Traffic:
        """No traffic at all."""
        return Traffic(*(np.zeros(tiles, np.int64) for _ in range(5)))

    def add(self, other: Traffic) -> None:
        """Add the traffic of another variable in the same phase."""
        self.received += other.received
        self.sent += other.sent
        self.paired += other.paired
        self.fragments += other.fragments
        self.sends += other.sends


def reads(program: Program, families: tuple[VertexFamily, ...]) -> Traffic:
    """Traffic before a compute set: what its vertices read from other tiles."""
    return _traffic(program, families, writes=False)


def writes(program: Program, families: tuple[VertexFamily, ...]) -> Traffic:
    """Traffic after a compute set: what its vertices wrote for other tiles."""
    return _traffic(program, families, writes=True)


def _traffic(program: Program, families: tuple[VertexFamily, ...], *, writes: bool) -> Traffic:
    tiles = program.target.all_tiles
    users: dict[int, list[tuple[VertexFamily, Access]]] = {}
    for family in families:
        for spec in family.codelet.fields:
            if spec.writes if writes else spec.reads:
                access = family.fields[spec.name]
                users.setdefault(access.variable, []).append((family, access))
    total = Traffic.none(tiles)
    for id_, found in users.items():
        variable = program.variables[id_]
        span = Span(variable.size + 1, tiles)
        for family, access in found:
            span.add(family, access, sweep=False)
        begins, ends = span.intervals()
        if not len(begins):
            continue
        tile = begins // span.width
        begins, ends = begins - tile * span.width, ends - tile * span.width
        total.add(of_variable(variable, tile, begins, ends, tiles, writes=writes))
    return total


def of_variable(
    variable: Variable, tile: Ints, begins: Ints, ends: Ints, tiles: int, *, writes: bool = False
) -> Traffic:
    """Traffic of intervals [begin, end) that tiles read (or write) of one variable.

    Args:
        variable: it is mapped.
        tile: the tile that reads or writes each interval: int64[n].
        begins: first elements: int64[n].
        ends: one past the last elements; intervals of one tile do not overlap: int64[n].
        tiles: of the target.
        writes: elements go home instead of coming from there.
    """
    mapping = TileMapping.of_intervals(variable.mapped().starts, variable.mapped().tiles)
    first = np.searchsorted(mapping.starts, begins, side="right") - 1
    last = np.searchsorted(mapping.starts, ends, side="left") - 1
    count = last - first + 1
    row = np.repeat(np.arange(len(begins)), count)
    piece = np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count) + first[row]
    bounds = np.append(mapping.starts, variable.size)
    low = np.maximum(bounds[piece], begins[row])
    high = np.minimum(bounds[piece + 1], ends[row])
    home, user = mapping.tiles[piece], tile[row]
    remote = home != user
    low, high, home, user = low[remote], high[remote], home[remote], user[remote]
    size = (high - low) * variable.itemsize
    if writes:
        return Traffic(
            _by_tile(home, size, tiles),
            _by_tile(user, size, tiles),
            np.zeros(tiles, np.int64),
            np.bincount(home, minlength=tiles),
            np.bincount(user, minlength=tiles),
        )
    sender, length = _sent_once(low, high, home)
    return Traffic(
        _by_tile(user, size, tiles),
        _by_tile(sender, length * variable.itemsize, tiles),
        _paired(low, high, user, variable.itemsize, tiles),
        np.bincount(user, minlength=tiles),
        np.bincount(sender, minlength=tiles),
    )


def _by_tile(tile: Ints, size: Ints, tiles: int) -> Ints:
    return np.bincount(tile, weights=size, minlength=tiles).astype(np.int64)


def _sent_once(low: Ints, high: Ints, home: Ints) -> tuple[Ints, Ints]:
    """Unions of what each home tile sends: (tile, elements) of every contiguous piece.

    One sending serves every receiver.
    """
    if not len(low):
        return home, low
    # One line of all homes, each on a stretch of its own, so that one merge serves.
    width = int(high.max()) + 1
    begins, ends = merge(home * width + low, home * width + high)
    return begins // width, ends - begins


def _paired(low: Ints, high: Ints, user: Ints, itemsize: int, tiles: int) -> Ints:
    """Bytes that both tiles 2i and 2i + 1 receive: the pair's bus carries them once."""
    paired = np.zeros(tiles, np.int64)
    if not len(low):
        return paired
    pair = user // 2
    width = int(high.max()) + 1
    edges = np.concatenate([pair * width + low, pair * width + high])
    which = np.concatenate([user % 2, user % 2])
    change = np.concatenate([np.ones(len(low), np.int64), -np.ones(len(low), np.int64)])
    order = np.argsort(edges, kind="stable")
    edges, which, change = edges[order], which[order], change[order]
    even = np.cumsum(np.where(which == 0, change, 0)) > 0
    odd = np.cumsum(np.where(which == 1, change, 0)) > 0
    both = (even & odd)[:-1]
    length = np.diff(edges)[both]
    at = edges[:-1][both] // width
    found = np.bincount(at, weights=length * itemsize, minlength=-(-tiles // 2)).astype(np.int64)
    paired += np.repeat(found, 2)[:tiles]
    return paired
