"""Cut a variable into elementary regions: the region nodes of the vertex graph.

A variable, in device layout order, is cut at each begin and end of every contiguous run of every
field. Pieces that some field touches are its elementary regions; the others are no nodes. Copies
and tile mappings do not cut.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ipuc.program.family import Access, IndexMap, VertexFamily
from ipuc.program.operand import scatter
from ipuc.types import Ints

#: Runs handled at a time: about 16 MB for each 64-bit array of them.
CHUNK = 1 << 21

#: Elements whose counts share one base number; a count within them fits 8 bits.
_BLOCK = 256

#: A count for every element pays where it takes at most this many bytes per region.
_DENSE = 16


def counted_fields(family: VertexFamily) -> dict[str, Access]:
    """The fields that the vertex graph counts, in declaration order.

    They are all: what Poplar keeps in scalar fields and worklists are template parameters here.
    """
    return {spec.name: family.fields[spec.name] for spec in family.codelet.fields}


def sorted_runs(access: Access) -> Ints:
    """The runs of one window, ascending: int64[k, 2] of begin relative to the offset, length."""
    runs = access.runs()
    runs = runs[runs[:, 1] > 0]
    return runs[np.argsort(runs[:, 0], kind="stable")]


def point_chunks(count: int, runs: int, limit: int = CHUNK) -> Iterator[Ints]:
    """Cut `count` grid points into chunks that have at most `limit` runs (or one point)."""
    step = max(1, limit // max(1, runs))
    for first in range(0, count, step):
        yield np.arange(first, min(first + step, count), dtype=np.int64)


def distinct(access: Access) -> Access:
    """The same windows with as little repetition as the tables show, in any order."""
    offset = access.offset
    if offset.explicit is not None:
        return replace(access, offset=IndexMap(offset.base, explicit=np.unique(offset.explicit)))
    tables = [np.unique(table) for table in offset.tables]
    base = offset.base + sum(int(table[0]) for table in tables if len(table) == 1)
    kept = tuple(table for table in tables if len(table) > 1)
    return replace(access, offset=IndexMap(base, kept))


@dataclass(frozen=True, slots=True)
class Regions:
    """The elementary regions of one variable.

    Attributes:
        begins: first element of each region, ascending: [n], 32 bits where that is enough.
        ends: one past the last element of each region: [n].
        base: regions that begin before each block of 256 elements; empty where regions are few.
        within: regions that begin in its block before each element: uint8.
    """

    begins: NDArray[Any]
    ends: NDArray[Any]
    base: Ints
    within: NDArray[np.uint8]

    def rank(self, elements: Ints) -> Ints:
        """Number of regions that begin before each element; any shape in, the same shape out."""
        if not len(self.within):
            return np.searchsorted(self.begins, elements).astype(np.int64, copy=False)
        found: Ints = self.base[elements >> 8]
        found += self.within[elements]
        return found


def cut_variable(size: int, accesses: Iterable[Access]) -> Regions:
    """Find the elementary regions of a variable of `size` elements.

    Args:
        size: elements of the variable.
        accesses: every field of the program that reaches it.
    """
    cut = np.zeros(size + 1, bool)
    touched = np.zeros(size + 1, bool)
    for access in {_key(access): access for access in accesses}.values():
        runs = sorted_runs(access)
        if not len(runs) or 0 in access.offset.grid:
            continue
        windows = distinct(access)
        count = int(np.prod(windows.offset.grid))
        for points in point_chunks(count, len(runs)):
            begins = windows.offset.at(points)[:, None] + runs[:, 0]
            cut[begins] = True
            begins += runs[:, 1]
            cut[begins] = True
        scatter(windows, touched, np.ones((), bool))
    ends = touched[:-1] & cut[1:]
    touched &= cut
    del cut
    base, within = _counts(touched)
    return Regions(_positions(touched), _positions(ends, 1), base, within)


def _key(access: Access) -> tuple[object, ...]:
    """Equal for fields that surely reach the same runs (in-place fields, shared operands)."""
    offset = access.offset
    parts = offset.tables if offset.explicit is None else (offset.explicit,)
    entries = None if access.entries is None else id(access.entries)
    return (offset.base, tuple(map(id, parts)), access.shape, access.strides, entries)


def _positions(flags: NDArray[np.bool_], shift: int = 0) -> NDArray[Any]:
    """Where flags are set, plus `shift`; no array of 64-bit positions of them all is made."""
    kind = np.int32 if flags.size < 1 << 31 else np.int64
    found = np.empty(np.count_nonzero(flags), kind)
    at = 0
    for first in range(0, flags.size, CHUNK):
        here = np.flatnonzero(flags[first : first + CHUNK])
        found[at : at + here.size] = here + (first + shift)
        at += here.size
    return found


def _counts(flags: NDArray[np.bool_]) -> tuple[Ints, NDArray[np.uint8]]:
    """Tables for `Regions.rank`: flags set before each block, and in it before each element."""
    if np.count_nonzero(flags) * _DENSE < flags.size:
        return np.empty(0, np.int64), np.empty(0, np.uint8)
    blocks = -(-flags.size // _BLOCK)
    padded = np.zeros((blocks, _BLOCK), np.uint8)
    padded.reshape(-1)[: flags.size] = flags
    within = np.cumsum(padded, axis=1, dtype=np.uint8)
    # A full block counts to 256, which is 0 in 8 bits; less the last flag it is 255 again.
    within -= padded
    totals = np.count_nonzero(padded, axis=1)
    base = np.zeros(blocks, np.int64)
    np.cumsum(totals[:-1], out=base[1:])
    return base, within.reshape(-1)
