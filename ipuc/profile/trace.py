"""A run as a timeline, in the Chrome trace format, which Perfetto and Chrome open.

Every superstep is drawn as the bulk-synchronous model has it: an exchange, a barrier, the compute
phase, a barrier, and an exchange of results where there is one. Times are modelled.

Source: the Trace Event Format document of the Chromium project: complete events ("X") with a
begin and a duration in microseconds, counters ("C") and names of tracks ("M").
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from ipuc.profile.cycles import Superstep, busy_cycles, exchange_cycles
from ipuc.profile.record import MODELLED, Profile
from ipuc.program.steps import Copy, Execute, Sweep
from ipuc.target import Target
from ipuc.types import Ints

Event = dict[str, Any]

#: Numbers of the tracks: the chip's supersteps and their phases, then one for each tile.
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
    events = [
        _named("process_name", 0, f"{target.name}, {MODELLED}"),
        _named("thread_name", _CHIP, "supersteps"),
        _named("thread_name", _PHASES, "phases"),
    ]
    events += [
        _named("thread_name", _FIRST_TILE + at, f"tile {tile}{marks.get(tile, '')}")
        for at, tile in enumerate(shown)
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
    target: Target, step: Superstep, begin: int, live: int, shown: list[int]
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
    yield _slice(_CHIP, step.name, begin, total, micro, facts)
    for name, value in (
        ("live bytes", live),
        ("exchange bytes", moved),
        ("active tiles", int((step.compute > 0).sum())),
    ):
        yield {"ph": "C", "pid": 0, "name": name, "ts": begin * micro, "args": {name: value}}
    at = begin
    for kind, length, by_tile in phases(target, step):
        if not length:
            continue
        yield _slice(_PHASES, kind, at, length * step.times, micro)
        for track, tile in enumerate(shown):
            own = int(by_tile[tile]) * step.times
            if own:
                yield _slice(_FIRST_TILE + track, kind, at, own, micro, {"step": step.name})
        at += length * step.times


def phases(target: Target, step: Superstep) -> Iterator[tuple[str, int, Ints]]:
    """(kind, cycles, cycles of each tile) of the phases of a superstep, in order."""
    none = np.zeros(target.all_tiles, np.int64)
    # Tiles wait at a barrier after each exchange, and after computing.
    barrier = ("sync", target.sync_cycles, none)
    before, after = (exchange_cycles(target, traffic) for traffic in (step.before, step.after))
    if before:
        yield "exchange", before, busy_cycles(target, step.before)
        yield barrier
    yield "compute", int(step.compute.max(initial=0)), step.compute
    yield barrier
    if after:
        yield "exchange", after, busy_cycles(target, step.after)
        yield barrier


def live_bytes(found: Profile) -> Iterator[int]:
    """Bytes on the chip while each superstep runs; the positions of a sweep share a step."""
    memory = found.memory
    always = int(memory.always_bytes.sum())
    for step, changing in zip(memory.lives.steps, memory.not_always, strict=True):
        if isinstance(step.step, Execute | Copy | Sweep):
            count = step.step.count if isinstance(step.step, Sweep) else 1
            yield from [always + int(changing.sum())] * count


def _slice(
    track: int, name: str, begin: int, cycles: int, micro: float, facts: Event | None = None
) -> Event:
    event: Event = {
        "ph": "X",
        "pid": 0,
        "tid": track,
        "name": name,
        "ts": begin * micro,
        "dur": cycles * micro,
    }
    if facts is not None:
        event["args"] = facts
    return event


def _named(what: str, track: int, name: str) -> Event:
    return {"ph": "M", "pid": 0, "tid": track, "name": what, "args": {"name": name}}
