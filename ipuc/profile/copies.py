"""What a copy step costs: exchange of what changes tile, and the workers' moving of bytes.

No vertex does a copy, but nothing that is executed is free.
"""

from __future__ import annotations

import functools

import numpy as np

from ipuc.profile.exchange import Traffic, of_variable
from ipuc.program.family import Access
from ipuc.program.operand import gather
from ipuc.program.program import Program
from ipuc.program.steps import Copy
from ipuc.types import Ints

#: A worker-driven memory copy moves this many bytes a cycle where runs are whole 8-byte words.
#: Source: memcpyBytesPerCycle of PopLibs' target description.
MEMCPY_BYTES_PER_CYCLE = 8


def copy_cost(program: Program, copy: Copy) -> tuple[Traffic, Ints]:
    """Traffic of a copy and the compute cycles that each tile spends on it.

    A tile receives every remote element that it needs once, even if it copies it to several
    places. Every tile then moves what it received or holds into place: bytes / 8 where runs fill
    8-byte words, four times that for 4-byte runs, eight times for shorter ones (our own estimate
    after PopLibs' copy regression).

    Returns:
        Traffic, and int64[tiles] cycles.
    """
    tiles, ipus = program.target.all_tiles, program.target.ipus
    cycles = np.zeros(tiles, np.int64)
    wanted: dict[int, list[Ints]] = {}
    most = max(
        (program.variables[move.source.variable].size for move in copy.moves if move.source),
        default=0,
    )
    numbers = np.arange(most, dtype=np.int64)

    @functools.cache
    def home(id_: int) -> Ints:
        """Tile of every element of a variable."""
        return program.variables[id_].mapped().dense(program.variables[id_].size)

    for move in copy.moves:
        itemsize = program.variables[move.destination.variable].itemsize
        into = _gathered(move.destination, home(move.destination.variable))
        moved = np.bincount(into, minlength=tiles) * itemsize
        slow = _slowdown(move.destination, move.source, itemsize)
        cycles += -(-moved * slow // MEMCPY_BYTES_PER_CYCLE)
        if move.source is None:
            continue
        source = program.variables[move.source.variable]
        element = _gathered(move.source, numbers[: source.size])
        remote = into != _gathered(move.source, home(source.id))
        line = into[remote] * (source.size + 1) + element[remote]
        wanted.setdefault(source.id, []).append(line)
    traffic = Traffic.none(tiles, ipus)
    for id_, lines in wanted.items():
        places = np.concatenate(lines)
        places.sort()
        places = places[np.flatnonzero(np.diff(places, prepend=-1))]
        if not len(places):
            continue
        opens = np.flatnonzero(np.diff(places, prepend=places[0] - 2) > 1)
        begins, ends = places[opens], places[np.append(opens[1:], len(places)) - 1] + 1
        width = program.variables[id_].size + 1
        tile = begins // width
        begins, ends = begins - tile * width, ends - tile * width
        traffic.add(of_variable(program.variables[id_], tile, begins, ends, tiles, ipus=ipus))
    return traffic, cycles


def _slowdown(into: Access, out_of: Access | None, itemsize: int) -> int:
    """How much slower than whole words a copy is, by its shortest contiguous run."""
    run = min(_run(access) for access in (into, out_of) if access is not None) * itemsize
    if run % MEMCPY_BYTES_PER_CYCLE == 0:
        return 1
    return 4 if run % 4 == 0 else 8


def _run(access: Access) -> int:
    runs = access.runs()
    return int(runs[:, 1].min()) if len(runs) else 1


def _gathered(access: Access, values: Ints) -> Ints:
    """Of every element of a variable, those an access of one point reaches, in window order."""
    return np.ascontiguousarray(gather(access, values)).reshape(-1)
