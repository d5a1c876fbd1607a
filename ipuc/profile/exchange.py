"""Bytes that every tile receives and sends in a superstep, from the real mapping and fields.

A tile receives the union of the remote elements that its vertices read; an element that many
tiles read is sent once. What a vertex writes for another tile is sent home afterwards.

What another IPU needs is sent over the links, once for each such IPU however many of its tiles
need it.
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
        sent: bytes that each tile sends, multicast counted once (for each IPU that receives it):
            int64[tiles].
        paired: bytes that both tiles of a pair receive alike, for each tile, from their own IPU:
            int64[tiles].
        fragments: contiguous pieces that each tile receives: int64[tiles].
        sends: contiguous pieces that each tile sends, counted as `sent`: int64[tiles].
        came: of `received`, what comes from other IPUs: int64[tiles].
        went: of `sent`, what goes to other IPUs: int64[tiles].
        links: bytes from each IPU to each other: int64[ipus, ipus].
    """

    received: Ints
    sent: Ints
    paired: Ints
    fragments: Ints
    sends: Ints
    came: Ints
    went: Ints
    links: Ints

    @staticmethod
    def none(tiles: int, ipus: int = 1) -> Traffic:
        """No traffic at all, on a machine of so many tiles in all."""
        received, sent, paired, fragments, sends, came, went = np.zeros((7, tiles), np.int64)
        links = np.zeros((ipus, ipus), np.int64)
        return Traffic(received, sent, paired, fragments, sends, came, went, links)

    def add(self, other: Traffic) -> None:
        """Add the traffic of another variable in the same phase."""
        self.received += other.received
        self.sent += other.sent
        self.paired += other.paired
        self.fragments += other.fragments
        self.sends += other.sends
        self.came += other.came
        self.went += other.went
        self.links += other.links


def reads(program: Program, families: tuple[VertexFamily, ...]) -> Traffic:
    """Traffic before a compute set: what its vertices read from other tiles."""
    return _traffic(program, families, writes=False)


def writes(program: Program, families: tuple[VertexFamily, ...]) -> Traffic:
    """Traffic after a compute set: what its vertices wrote for other tiles."""
    return _traffic(program, families, writes=True)


def _traffic(program: Program, families: tuple[VertexFamily, ...], *, writes: bool) -> Traffic:
    tiles, ipus = program.target.all_tiles, program.target.ipus
    users: dict[int, list[tuple[VertexFamily, Access]]] = {}
    for family in families:
        for spec in family.codelet.fields:
            if spec.writes if writes else spec.reads:
                access = family.fields[spec.name]
                users.setdefault(access.variable, []).append((family, access))
    total = Traffic.none(tiles, ipus)
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
        total.add(of_variable(variable, tile, begins, ends, tiles, writes=writes, ipus=ipus))
    return total


def of_variable(
    variable: Variable,
    tile: Ints,
    begins: Ints,
    ends: Ints,
    tiles: int,
    *,
    writes: bool = False,
    ipus: int = 1,
) -> Traffic:
    """Traffic of intervals [begin, end) that tiles read (or write) of one variable.

    Args:
        variable: it is mapped.
        tile: the tile that reads or writes each interval: int64[n].
        begins: first elements: int64[n].
        ends: one past the last elements; intervals of one tile do not overlap: int64[n].
        tiles: of the target, all IPUs together.
        writes: elements go home instead of coming from there.
        ipus: of the target.
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
    each = tiles // ipus
    size = (high - low) * variable.itemsize
    if writes:
        return _moved(_Ends(user, home // each, size), _Ends(home, user // each, size), each, ipus)
    sender, to, length = _sent_once(low, high, home, user // each, ipus)
    leaving = _Ends(sender, to, length * variable.itemsize)
    made = _moved(leaving, _Ends(user, home // each, size), each, ipus)
    near = home // each == user // each
    made.paired = _paired(low[near], high[near], user[near], variable.itemsize, (each, ipus))
    return made


@dataclass(frozen=True, slots=True)
class _Ends:
    """Pieces at one end of an exchange: the tile, the IPU at the other end, and the bytes."""

    tile: Ints
    other: Ints
    size: Ints


def _moved(leaving: _Ends, arriving: _Ends, each: int, ipus: int) -> Traffic:
    """Traffic of pieces between IPUs of `each` tiles; that of pairs is not counted."""
    tiles = each * ipus
    made = Traffic.none(tiles, ipus)
    made.received = _by_tile(arriving.tile, arriving.size, tiles)
    made.sent = _by_tile(leaving.tile, leaving.size, tiles)
    made.fragments = np.bincount(arriving.tile, minlength=tiles)
    made.sends = np.bincount(leaving.tile, minlength=tiles)
    if ipus > 1:
        came = arriving.tile // each != arriving.other
        went = leaving.tile // each != leaving.other
        made.came = _by_tile(arriving.tile[came], arriving.size[came], tiles)
        made.went = _by_tile(leaving.tile[went], leaving.size[went], tiles)
        way = (leaving.tile // each * ipus + leaving.other)[went]
        made.links = _by_tile(way, leaving.size[went], ipus * ipus).reshape(ipus, ipus)
    return made


def _by_tile(tile: Ints, size: Ints, tiles: int) -> Ints:
    return np.bincount(tile, weights=size, minlength=tiles).astype(np.int64)


def _sent_once(low: Ints, high: Ints, home: Ints, to: Ints, ipus: int) -> tuple[Ints, Ints, Ints]:
    """Unions of what each home tile sends to each IPU: (tile, IPU, elements) of every piece.

    One sending serves every receiver of an IPU.
    """
    if not len(low):
        return home, to, low
    # One line of all homes and IPUs, each on a stretch of its own, so that one merge serves.
    width = int(high.max()) + 1
    line = (home * ipus + to) * width
    begins, ends = merge(line + low, line + high)
    line = begins // width
    return line // ipus, line % ipus, ends - begins


def _paired(low: Ints, high: Ints, user: Ints, itemsize: int, machine: tuple[int, int]) -> Ints:
    """Bytes that both tiles 2i and 2i + 1 of an IPU receive: the pair's bus carries them once.

    `machine` is tiles of an IPU, and IPUs.
    """
    each, ipus = machine
    if not len(low):
        return np.zeros(each * ipus, np.int64)
    pairs = -(-each // 2)
    pair, user = user // each * pairs + user % each // 2, user % each
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
    found = np.bincount(at, weights=length * itemsize, minlength=pairs * ipus).astype(np.int64)
    by_ipu = np.repeat(found, 2).reshape(ipus, 2 * pairs)[:, :each]
    return np.ascontiguousarray(by_ipu).reshape(-1)
