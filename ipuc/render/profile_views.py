"""Pictures of a profile: memory by tile, liveness by step, the timeline, the chip's tiles."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image

from ipuc.profile.memory import GAPS, MESSAGES
from ipuc.profile.record import MODELLED, Profile
from ipuc.profile.trace import phases
from ipuc.render.chart import (
    BACKGROUND,
    SERIES,
    WIDTH,
    Axis,
    Colour,
    Frame,
    Mark,
    Pixels,
    columns,
    runs,
    stacked,
)
from ipuc.types import Ints

#: Colours of the bulk-synchronous phases; a tile that waits is dark.
PHASES: dict[str, Colour] = {
    "compute": (232, 160, 60),
    "exchange": (70, 150, 220),
    "global exchange": (120, 210, 140),
    "sync": (122, 112, 132),
}
WAITING: Colour = (38, 36, 46)

#: Colours of the categories of memory, so that two pictures can be compared.
CATEGORIES: dict[str, Colour] = dict(
    zip(
        (
            *("Constants", "Variables", MESSAGES, "Internal Exchange Code", "Vertex Code"),
            *("Worklists", "Vertex Field Data", "Control Code", "Stack", "Vertex Instances"),
        ),
        SERIES,
        strict=False,
    )
)
_SMALLER: Colour = (126, 124, 130)
#: Gaps hold nothing, so they are as dark as may be told from the ground, and on top.
CATEGORIES[GAPS] = (66, 62, 72)
#: A category with a smaller share of the bytes shares the colour of all such.
_WORTH_A_COLOUR = 0.01

_MEBI = 1 << 20


def memory_view(found: Profile, width: int = WIDTH) -> Image.Image:
    """Bytes by tile, stacked by category, each tile at its own fullest step."""
    memory = found.memory
    names, layers, colours, shares = _categories(memory.categories())
    limit = memory.target.tile_memory_bytes
    high = 1.1 * max(memory.max_tile_bytes, limit) / 1024
    legend = [
        (name, colour, f"{share:.0%}")
        for name, colour, share in zip(names, colours, shares, strict=True)
    ]
    frame = Frame(
        width,
        f"Memory by tile: {_name(found)}",
        _about(
            found,
            f"fullest tile {memory.worst_tile}: {memory.max_tile_bytes:,} of {limit:,} bytes, "
            f"{memory.max_tile_bytes / limit:.0%}; {memory.total_bytes / _MEBI:,.0f} MiB in all "
            "without gaps",
            found.error["memory_text"],
        ),
        Axis("tile", 0, memory.target.all_tiles),
        Axis("KiB of a tile", 0, high),
        legend[::-1],
    )
    across, down = frame.plot_size
    shown = columns(memory.tile_bytes, across)
    plot = stacked(layers[:, shown] / 1024, colours, high, down)
    return frame.draw(plot, Mark(limit / 1024, f"limit of a tile: {limit / 1024:,.0f} KiB"))


def _categories(
    found: dict[str, Ints],
) -> tuple[list[str], np.ndarray[tuple[int, ...], np.dtype[np.float64]], list[Colour], list[float]]:
    """Names, values by tile, colours and shares: largest first, small ones together, then gaps."""
    total = max(sum(int(column.sum()) for column in found.values()), 1)
    large = {n: c for n, c in found.items() if c.sum() / total >= _WORTH_A_COLOUR}
    gaps = found.get(GAPS, np.zeros(0, np.int64))
    large.pop(GAPS, None)
    order = sorted(large, key=lambda name: -int(large[name].sum()))
    spare = iter(SERIES[len(CATEGORIES) :] * (1 + len(order)))
    colours = [CATEGORIES[name] if name in CATEGORIES else next(spare) for name in order]
    values = [large[name].astype(float) for name in order]
    small = [column for name, column in found.items() if name not in {*large, GAPS}]
    small = [column for column in small if column.any()]
    if small:
        order.append(f"{len(small)} smaller")
        colours.append(_SMALLER)
        values.append(np.sum(small, axis=0).astype(float))
    if gaps.any():
        order.append(GAPS)
        colours.append(CATEGORIES[GAPS])
        values.append(gaps.astype(float))
    shares = [float(column.sum()) / total for column in values]
    return order, np.stack(values), colours, shares


def liveness_view(found: Profile, width: int = WIDTH) -> Image.Image:
    """Bytes on the whole chip by program step: always live, variables, messages."""
    memory = found.memory
    changing = memory.not_always.sum(axis=1)
    messages = memory.messages.sum(axis=1)
    always = int(memory.always_bytes.sum())
    most = int(changing.max(initial=0))
    # Weights tower over activations: then the axis begins within what is always live.
    low = max(0, always - most // 2)
    low = low // _MEBI * _MEBI if low > always // 2 else 0
    high = low + 1.08 * max(always + most - low, 1)
    steps = memory.lives.steps
    worst = ""
    if len(changing):
        row = int(changing.argmax())
        worst = f"; peak {(always + most) / _MEBI:,.1f} MiB in step {row}, {steps[row].name}"
    names = ("Always live", "Variables", MESSAGES)
    colours = (CATEGORIES["Constants"], CATEGORIES["Variables"], CATEGORIES[MESSAGES])
    figures = (always, int((changing - messages).max(initial=0)), int(messages.max(initial=0)))
    legend = [
        (name, colour, f"{figure / _MEBI:,.1f} MiB")
        for name, colour, figure in zip(names, colours, figures, strict=True)
    ]
    frame = Frame(
        width,
        f"Live bytes by program step: {_name(found)}",
        _about(
            found,
            f"{always / _MEBI:,.1f} MiB always live{worst}; the legend gives the most of each",
            found.error["memory_text"],
        ),
        Axis("program step", 0, max(len(changing), 1)),
        Axis(
            f"MiB alive on all tiles{f', from {low // _MEBI:,} up' if low else ''}",
            low / _MEBI,
            high / _MEBI,
        ),
        legend[::-1],
        runs([step.layer for step in steps], [1.0] * len(steps)),
    )
    across, down = frame.plot_size
    if not len(changing):
        return frame.draw(np.full((down, across, 3), BACKGROUND, np.uint8))
    shown = np.arange(across) * len(changing) // across
    layers = np.stack(
        [
            np.full(across, float(always - low)),
            (changing - messages)[shown].astype(float),
            messages[shown].astype(float),
        ]
    )
    return frame.draw(stacked(layers, colours, high - low, down))


def timeline_view(found: Profile, width: int = WIDTH) -> Image.Image:
    """What every tile does at every cycle: compute, exchange, wait at a barrier, or idle."""
    target, cycles = found.program.target, found.cycles
    total = cycles["total"]
    kinds, lengths, work = [], [], []
    for step in found.steps:
        for kind, length, by_tile in phases(target, step):
            kinds.append(list(PHASES).index(kind))
            lengths.append(length * step.times)
            work.append(by_tile * step.times)
    legend = []
    for number, (name, colour) in enumerate(PHASES.items()):
        spent = sum(w.mean() for kind, w in zip(kinds, work, strict=True) if kind == number)
        # Between IPUs nothing is exchanged where there is one.
        if name != "global exchange" or target.ipus > 1:
            legend.append((name, colour, f"{spent / max(total, 1):.0%}"))
    waiting = total - sum(float(w.mean()) for w in work)
    legend.append(("waiting for other tiles", WAITING, f"{waiting / max(total, 1):.0%}"))
    micro = 1e9 / target.clock_hz
    frame = Frame(
        width,
        f"Timeline: {_name(found)}",
        _about(
            found,
            f"{total:,} cycles, {found.seconds * 1e6:,.1f} us; the legend gives the share of "
            "all tiles' time",
            found.error["text"],
        ),
        Axis(f"thousand cycles, {micro:.3f} us each", 0, max(total, 1) / 1000),
        Axis("tile", 0, target.all_tiles),
        legend,
        runs([s.layer for s in found.steps], [s.cycles * s.times / 1000 for s in found.steps]),
    )
    across, down = frame.plot_size
    if not total:
        return frame.draw(np.full((down, across, 3), BACKGROUND, np.uint8))
    tile = ((down - 1 - np.arange(down)) * target.all_tiles + target.all_tiles // 2) // down
    tile = np.minimum(tile, target.all_tiles - 1)
    ends = np.cumsum(lengths)
    now = (np.arange(across) + 0.5) * total / across
    phase = np.searchsorted(ends, now, side="right")
    since = now - (ends - lengths)[phase]
    colours = np.array([*PHASES.values(), WAITING], np.uint8)
    working = since < np.stack([one[tile] for one in work])[phase].T
    plot: Pixels = colours[np.where(working, np.array(kinds)[phase], len(PHASES))]
    return frame.draw(plot)


@dataclass(frozen=True, slots=True)
class Measure:
    """What a heat map of the tiles shows.

    Attributes:
        title: of the picture.
        unit: of the figures.
        of: int64[tiles] of a profile.
    """

    title: str
    unit: str
    of: Callable[[Profile], Ints]


def _over_steps(found: Profile, pick: Callable[..., Ints]) -> Ints:
    none = np.zeros(found.program.target.all_tiles, np.int64)
    total: Ints = sum((pick(step) * step.times for step in found.steps), none)
    return total


def _vertices(found: Profile) -> Ints:
    tiles = found.program.target.all_tiles
    none = np.zeros(tiles, np.int64)
    total: Ints = sum(
        (
            np.bincount(family.tile.dense().reshape(-1), minlength=tiles)
            for family in found.program.families()
        ),
        none,
    )
    return total


#: Every measure by its name on the command line.
MEASURES: dict[str, Measure] = {
    "compute": Measure(
        "Compute cycles of every tile", "cycles", lambda f: _over_steps(f, lambda s: s.compute)
    ),
    "received": Measure(
        "Bytes that every tile receives",
        "bytes",
        lambda f: _over_steps(f, lambda s: s.before.received + s.after.received),
    ),
    "sent": Measure(
        "Bytes that every tile sends",
        "bytes",
        lambda f: _over_steps(f, lambda s: s.before.sent + s.after.sent),
    ),
    "memory": Measure("Memory of every tile", "bytes", lambda f: f.memory.tile_bytes),
    "always-live": Measure(
        "Memory of every tile that is always live", "bytes", lambda f: f.memory.always_bytes
    ),
    "vertices": Measure("Vertices of every tile", "vertices", _vertices),
}


def tiles_view(found: Profile, width: int = WIDTH, measure: str = "compute") -> Image.Image:
    """The tiles as a heat map of a measure; where they lie on the die is not public."""
    target, shows = found.program.target, MEASURES[measure]
    values = shows.of(found)
    most, mean = int(values.max()), float(values.mean())
    # Columns of neighbours, a pair side by side, in a shape as wide as the plot.
    across_tiles = max(2, 2 * round(math.sqrt(target.all_tiles * 1.6) / 2))
    of_ipu = -(-target.tiles // across_tiles)
    rows = target.ipus * (of_ipu + 1) - 1
    unit = shows.unit
    legend = [
        (f"{most * level // 4:,} {unit}", ramp_colour(level / 4), "") for level in range(4, -1, -1)
    ]
    error = "memory_text" if measure in ("memory", "always-live") else "text"
    frame = Frame(
        width,
        f"{shows.title}: {_name(found)}",
        _about(
            found,
            f"mean {mean:,.0f} {unit}, most {most:,} on tile {int(values.argmax())}; rows of "
            f"{across_tiles} tiles in order of their number",
            found.error[error],
        ),
        Axis("tile within its row", 0, across_tiles),
        Axis("row, from the bottom" + "; IPUs are apart" * (target.ipus > 1), 0, rows),
        legend,
    )
    across, down = frame.plot_size
    x = np.arange(across) * across_tiles // across
    y = (down - 1 - np.arange(down)) * rows // down
    # An empty row between two IPUs.
    ipu, row = np.divmod(y[:, None], of_ipu + 1)
    place = row * across_tiles + x[None]
    seen = (row < of_ipu) & (place < target.tiles)
    level = values[np.where(seen, ipu * target.tiles + place, 0)] / max(most, 1)
    table = np.array([ramp_colour(n / 255) for n in range(256)], np.uint8)
    if min(across // across_tiles, down // rows) >= _ROOM_FOR_LINES:
        # A line of background between tiles, so that each is seen.
        seen &= (np.diff(y, append=-1) == 0)[:, None] & (np.diff(x, append=-1) == 0)
    plot: Pixels = np.where(seen[..., None], table[(level * 255).astype(int)], BACKGROUND)
    return frame.draw(plot.astype(np.uint8))


#: Pixels of a tile from which on there is room for a line between two.
_ROOM_FOR_LINES = 8


def ramp_colour(level: float) -> Colour:
    """A colour for 0 to 1, ever brighter."""
    ramp = HEAT
    at = level * (len(ramp) - 1)
    low = min(int(at), len(ramp) - 2)
    part = at - low
    red, green, blue = (
        round(a + (b - a) * part) for a, b in zip(ramp[low], ramp[low + 1], strict=True)
    )
    return red, green, blue


#: From idle to busiest.
HEAT: tuple[Colour, ...] = (
    (34, 30, 58),
    (92, 40, 110),
    (178, 60, 90),
    (236, 130, 60),
    (252, 236, 170),
)


def _name(found: Profile) -> str:
    target = found.program.target
    several = f"{target.ipus} x " if target.ipus > 1 else ""
    return f"{found.program.metadata.get('model') or 'program'} on {several}{target.name}"


def _about(found: Profile, more: str, error: str) -> tuple[str, str]:
    """What the picture is of, and how far it may be trusted."""
    precision = found.program.metadata.get("precision")
    formats = f"{precision}; " if precision else ""
    word = "" if error.startswith("error") else "error: "
    return f"{formats}{more}; {MODELLED}", f"{word}{error}"


#: Every picture by its name on the command line.
VIEWS: dict[str, Callable[[Profile, int], Image.Image]] = {
    "timeline": timeline_view,
    "memory": memory_view,
    "liveness": liveness_view,
    "tiles": tiles_view,
}
