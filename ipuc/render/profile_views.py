"""Pictures of a profile: memory by tile, liveness by step, the timeline, the chip's tiles."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from PIL import Image

from ipuc.profile.memory import MESSAGES
from ipuc.profile.record import MODELLED, Profile
from ipuc.profile.trace import phases
from ipuc.render.chart import BACKGROUND, SERIES, Axis, Colour, Frame, Pixels, columns, stacked

#: Colours of the bulk-synchronous phases; a tile that waits is dark.
PHASES: dict[str, Colour] = {
    "compute": (232, 160, 60),
    "exchange": (70, 150, 220),
    "global exchange": (120, 210, 140),
    "sync": (90, 84, 96),
}
_WAITING: Colour = (30, 29, 34)


def memory_view(found: Profile, width: int = 1600) -> Image.Image:
    """Bytes by tile, stacked by category, each tile at its own fullest step."""
    memory = found.memory
    categories = {name: column for name, column in memory.categories().items() if column.any()}
    order = sorted(categories, key=lambda name: -int(categories[name].sum()))
    limit = memory.target.tile_memory_bytes
    high = 1.08 * max(memory.max_tile_bytes, limit) / 1024
    colours = SERIES[: len(order)]
    frame = Frame(
        width,
        "Memory by tile",
        _about(found, f"fullest tile {memory.worst_tile}: {memory.max_tile_bytes:,} bytes"),
        Axis("tile", 0, memory.target.all_tiles),
        Axis("KiB of a tile", 0, high),
        [*zip(order, colours, strict=True), ("limit of a tile", (255, 92, 92))],
    )
    across, down = frame.plot_size
    shown = columns(memory.tile_bytes, across)
    layers = np.stack([categories[name][shown] / 1024 for name in order])
    return frame.draw(stacked(layers, colours, high, down), line=limit / 1024)


def liveness_view(found: Profile, width: int = 1600) -> Image.Image:
    """Bytes on the whole chip by program step: always live, variables, messages."""
    memory = found.memory
    changing = memory.not_always.sum(axis=1)
    messages = memory.messages.sum(axis=1)
    always = int(memory.always_bytes.sum())
    names = ("Always live", "Not always live variables", MESSAGES)
    mega = 1 << 20
    # Weights tower over activations, so the axis begins near the top of what is always live.
    peak = always + int(changing.max(initial=0))
    low = max(0, always - 2 * int(changing.max(initial=0)))
    high = low + 1.08 * max(peak - low, 1)
    worst = ""
    if len(changing):
        worst = f", the peak is at {memory.lives.steps[int(changing.argmax())].name}"
    frame = Frame(
        width,
        "Live bytes by program step",
        _about(found, f"the axis begins at {low / mega:,.0f} MiB{worst}"),
        Axis("program step", 0, max(len(changing), 1)),
        Axis("MiB alive on the chip", low / mega, high / mega),
        list(zip(names, SERIES, strict=False)),
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
    return frame.draw(stacked(layers, SERIES[:3], high - low, down))


def timeline_view(found: Profile, width: int = 1600) -> Image.Image:
    """What every tile does at every cycle: compute, exchange, wait at a barrier, or idle."""
    target = found.program.target
    total = found.cycles["total"]
    # Between IPUs nothing is exchanged where there is one.
    shown = {name: PHASES[name] for name in PHASES if name != "global exchange" or target.ipus > 1}
    frame = Frame(
        width,
        "Timeline",
        _about(found, f"{total:,} cycles"),
        Axis("thousand cycles", 0, max(total, 1) / 1000),
        Axis("tile", 0, target.all_tiles),
        [*shown.items(), ("idle", _WAITING)],
    )
    across, down = frame.plot_size
    kinds, lengths, busy = [], [], []
    tile = ((down - 1 - np.arange(down)) * target.all_tiles + target.all_tiles // 2) // down
    tile = np.minimum(tile, target.all_tiles - 1)
    for step in found.steps:
        for kind, length, by_tile in phases(target, step):
            kinds.append(list(PHASES).index(kind))
            lengths.append(length * step.times)
            busy.append((by_tile * step.times)[tile] if kind != "sync" else np.full(down, length))
    if not total:
        return frame.draw(np.full((down, across, 3), BACKGROUND, np.uint8))
    ends = np.cumsum(lengths)
    now = (np.arange(across) + 0.5) * total / across
    phase = np.searchsorted(ends, now, side="right")
    since = now - (ends - lengths)[phase]
    colours = np.array([*PHASES.values(), _WAITING], np.uint8)
    working = since < np.stack(busy)[phase].T
    plot: Pixels = colours[np.where(working, np.array(kinds)[phase], len(PHASES))]
    return frame.draw(plot)


def tiles_view(found: Profile, width: int = 1600) -> Image.Image:
    """The tiles as a heat map of their compute cycles; where they lie on the die is not public."""
    target = found.program.target
    none = np.zeros(target.all_tiles, np.int64)
    work = sum((s.compute * s.times for s in found.steps), none)
    most = int(work.max())
    # Columns of neighbours, a pair side by side, in a shape as wide as the plot.
    across_tiles = max(2, 2 * round(math.sqrt(target.all_tiles * 1.6) / 2))
    rows = -(-target.all_tiles // across_tiles)
    ramp = np.array([ramp_colour(level / 4) for level in range(5)], np.uint8)
    names = [f"{most * level // 4:,} cycles" for level in range(5)]
    frame = Frame(
        width,
        "Compute cycles of every tile",
        _about(found, f"rows of {across_tiles} tiles in order of their number"),
        Axis("tile within its row", 0, across_tiles),
        Axis("row, from the bottom", 0, rows),
        [(name, _colour(colour)) for name, colour in zip(names, ramp, strict=True)],
    )
    across, down = frame.plot_size
    x = np.arange(across) * across_tiles // across
    y = (down - 1 - np.arange(down)) * rows // down
    tile = y[:, None] * across_tiles + x[None]
    exists = tile < target.all_tiles
    level = work[np.minimum(tile, target.all_tiles - 1)] / max(most, 1)
    table = np.array([ramp_colour(n / 255) for n in range(256)], np.uint8)
    plot: Pixels = np.where(exists[..., None], table[(level * 255).astype(int)], BACKGROUND)
    return frame.draw(plot.astype(np.uint8))


def _colour(values: Pixels) -> Colour:
    red, green, blue = (int(v) for v in values)
    return red, green, blue


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


def _about(found: Profile, more: str) -> str:
    about = found.program.metadata
    model = about.get("model") or "program"
    return f"{model} on {found.program.target.name}, {more}; {MODELLED}"


#: Every picture by its name on the command line.
VIEWS: dict[str, Callable[[Profile, int], Image.Image]] = {
    "timeline": timeline_view,
    "memory": memory_view,
    "liveness": liveness_view,
    "tiles": tiles_view,
}
