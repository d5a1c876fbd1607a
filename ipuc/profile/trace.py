"""A run as a timeline, in the Chrome trace format, which Perfetto and Chrome open.

Every superstep is drawn as the bulk-synchronous model has it: an exchange, a barrier, the compute
phase, a barrier, and an exchange of results where there is one. Times are modelled. Each IPU is a
process of the trace, with the supersteps that it computes; an exchange between IPUs is drawn on
all that take part.

Source: the Trace Event Format document of the Chromium project: complete events ("X") with a
begin and a duration in microseconds, counters ("C") and names of tracks ("M").
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from ipuc.profile.cycles import (
    Superstep,
    busy_cycles,
    global_busy_cycles,
    global_cycles,
    local_cycles,
)
from ipuc.profile.exchange import Traffic
from ipuc.profile.record import MODELLED, Profile
from ipuc.program.steps import Copy, Execute, Sweep
from ipuc.target import Target
from ipuc.types import Ints

Event = dict[str, Any]

#: Numbers of the tracks: an IPU's supersteps and their phases, then one for each tile.
_CHIP, _PHASES, _FIRST_TILE = 0, 1, 2


def trace(found: Profile, tiles: Iterable[int] = ()) -> dict[str, Any]:
    """Make a timeline, as JSON values.

    Args:
        found: the profile.
        tiles: tiles that get a track of their own, beside the busiest and the median tile.

    Returns:
        A document with the key `traceEvents`; steps that run several times are drawn once, as
        long as they take together.
    """
    target = found.program.target
    work = sum((s.compute * s.times for s in found.steps), np.zeros(target.all_tiles, np.int64))
    order = np.argsort(work, kind="stable")
    busiest, median = int(order[-1]), int(order[len(order) // 2])
    marks = {busiest: " (busiest)", median: " (median)"}
    shown = list(dict.fromkeys([busiest, median, *tiles]))
    events: list[Event] = []
    for ipu in range(target.ipus):
        which = f"IPU {ipu}, " if target.ipus > 1 else ""
        events += [
            _named("process_name", ipu, 0, f"{which}{target.name}, {MODELLED}"),
            _named("thread_name", ipu, _CHIP, "supersteps"),
            _named("thread_name", ipu, _PHASES, "phases"),
        ]
    events += [
        _named("thread_name", tile // target.tiles, track, f"tile {tile}{marks.get(tile, '')}")
        for track, tile in enumerate(shown, _FIRST_TILE)
    ]
    begin = 0
    for step, live in zip(found.steps, live_bytes(found), strict=True):
        events += _superstep(target, step, begin, live, shown)
        begin += step.cycles * step.times
    return {
        "traceEvents": events,
        "displayTimeUnit": "ns",
        "otherData": {"basis": MODELLED, "cycles": begin, "clock_hz": target.clock_hz},
    }


def _superstep(
    target: Target, step: Superstep, begin: int, live: Ints, shown: list[int]
) -> Iterator[Event]:
    """The events of one superstep that begins at a cycle."""
    micro = 1e6 / target.clock_hz
    total = step.cycles * step.times
    moved = int((step.before.received + step.after.received).sum())
    facts = {
        "layer": step.layer,
        "cycles": total,
        "times": step.times,
        "vertices": sum(step.vertices.values()),
        "bytes exchanged": moved * step.times,
    }
    if target.ipus > 1:
        facts["bytes over links"] = int(step.links.sum()) * step.times
    yield _slice((step.ipu, _CHIP), step.name, begin, total, micro, facts)
    received = (step.before.received + step.after.received).reshape(target.ipus, -1).sum(axis=1)
    active = (step.compute > 0).reshape(target.ipus, -1).sum(axis=1)
    for ipu in range(target.ipus):
        for name, by_ipu in (
            ("live bytes", live),
            ("exchange bytes", received),
            ("active tiles", active),
        ):
            args = {name: int(by_ipu[ipu])}
            yield {"ph": "C", "pid": ipu, "name": name, "ts": _time(begin, micro), "args": args}
    at = begin
    for kind, length, by_tile in phases(target, step):
        if not length:
            continue
        busy = np.flatnonzero(by_tile.reshape(target.ipus, -1).any(axis=1))
        for ipu in sorted({step.ipu, *busy.tolist()}):
            yield _slice((ipu, _PHASES), kind, at, length * step.times, micro)
        # A tile waits at the barriers of its IPU: those are drawn once, with the phases.
        for track, tile in enumerate(shown if kind != "sync" else (), _FIRST_TILE):
            own = int(by_tile[tile]) * step.times
            if own:
                where = (tile // target.tiles, track)
                yield _slice(where, kind, at, own, micro, {"step": step.name})
        at += length * step.times


def phases(target: Target, step: Superstep) -> Iterator[tuple[str, int, Ints]]:
    """(kind, cycles, cycles of each tile) of the phases of a superstep, in order."""
    # Tiles of the IPU wait at a barrier after each exchange, and after computing.
    waits = np.repeat(np.arange(target.ipus) == step.ipu, target.tiles) * target.sync_cycles
    yield from _exchange(target, step.before, waits)
    yield "compute", int(step.compute.max(initial=0)), step.compute
    yield "sync", target.sync_cycles, waits
    yield from _exchange(target, step.after, waits)


def _exchange(target: Target, traffic: Traffic, waits: Ints) -> Iterator[tuple[str, int, Ints]]:
    distant, local = global_cycles(target, traffic), local_cycles(target, traffic)
    if distant:
        every = np.full(target.all_tiles, target.external_sync_cycles)
        yield "global exchange", distant, global_busy_cycles(target, traffic)
        yield "sync", target.external_sync_cycles, every
    if local:
        yield "exchange", local, busy_cycles(target, traffic)
        yield "sync", target.sync_cycles, waits


def live_bytes(found: Profile) -> Iterator[Ints]:
    """Bytes on each IPU while each superstep runs: int64[ipus].

    The positions of a sweep share a step.
    """
    memory, ipus = found.memory, found.program.target.ipus
    always = memory.always_bytes
    for step, changing in zip(memory.lives.steps, memory.not_always, strict=True):
        if isinstance(step.step, Execute | Copy | Sweep):
            count = step.step.count if isinstance(step.step, Sweep) else 1
            yield from [(always + changing).reshape(ipus, -1).sum(axis=1)] * count


def _time(cycles: int, micro: float) -> float:
    """Microseconds, to a thousandth of a cycle of any chip: digits that fill no file."""
    return round(cycles * micro, 7)


def _slice(
    where: tuple[int, int],
    name: str,
    begin: int,
    cycles: int,
    micro: float,
    facts: Event | None = None,
) -> Event:
    event: Event = {
        "ph": "X",
        "pid": where[0],
        "tid": where[1],
        "name": name,
        "ts": _time(begin, micro),
        "dur": _time(cycles, micro),
    }
    if facts is not None:
        event["args"] = facts
    return event


def _named(what: str, ipu: int, track: int, name: str) -> Event:
    return {"ph": "M", "pid": ipu, "tid": track, "name": what, "args": {"name": name}}
