"""The machines we know, and overrides of their numbers."""

from __future__ import annotations

import dataclasses

from ipuc.errors import OptionError, nearest
from ipuc.target.define import Target

CATALOGUE: dict[str, Target] = {
    target.name: target
    for target in (
        Target(
            "gc2",
            tiles=1216,
            worker_contexts=6,
            tile_memory_bytes=262_144,
            clock_hz=1_600_000_000,
            conv_units_float16=8,
            conv_units_float32=8,
            interleaved_start_bytes=131_072,
            external_sync_cycles=500,
        ),
        Target(
            "gc200",
            tiles=1472,
            worker_contexts=6,
            tile_memory_bytes=638_976,
            clock_hz=1_330_000_000,
        ),
        Target(
            "bow",
            tiles=1472,
            worker_contexts=6,
            tile_memory_bytes=638_976,
            clock_hz=1_850_000_000,
        ),
        # No such chip exists: four tiles of a GC200, small enough to follow by hand.
        Target(
            "tiny",
            tiles=4,
            worker_contexts=6,
            tile_memory_bytes=638_976,
            clock_hz=1_330_000_000,
        ),
    )
}

#: More tiles than this is a slip of the keyboard: arrays per tile would fill the host's memory.
MAX_TILES = 1 << 17
#: IPUs that one program may use: four M2000 boxes of four.
MAX_IPUS = 16


def several(target: Target, ipus: int) -> Target:
    """Join several IPUs by links into one machine.

    Raises:
        OptionError: fewer than one, more than `MAX_IPUS`, or too many tiles together.
    """
    if not 1 <= ipus <= MAX_IPUS:
        raise OptionError(
            f"there is no machine of {ipus} IPUs", where="--ipus", fix=f"give 1 to {MAX_IPUS}"
        )
    if ipus * target.tiles > MAX_TILES:
        raise OptionError(
            f"{ipus} IPUs of {target.tiles} tiles are more than {MAX_TILES} tiles",
            where="--ipus",
            fix="use fewer IPUs, or fewer tiles: --target NAME,tiles=N",
        )
    return dataclasses.replace(target, ipus=ipus)


def parse_target(text: str) -> Target:
    """Read a target with overrides, such as "gc200" or "gc200,tiles=64,clock_hz=1e9".

    Raises:
        OptionError: an unknown machine or field, or a number out of range.
    """
    name, *overrides = [part.strip() for part in text.split(",")]
    if name not in CATALOGUE:
        raise OptionError(
            f'no target is called "{name}"', where="--target", fix=nearest(name, CATALOGUE)
        )
    target = CATALOGUE[name]
    numbers = list(target.numbers())
    changes: dict[str, int] = {}
    for item in overrides:
        key, equals, value = item.partition("=")
        if not equals and key in numbers:
            raise OptionError(
                f"{key} has no number", where="--target", fix=f"write {key}={getattr(target, key)}"
            )
        if key == "ipus":
            raise OptionError(
                "a target is one IPU", where="--target", fix="say --ipus N to use several"
            )
        if key not in numbers:
            raise OptionError(
                f'a target has no number called "{key}"',
                where="--target",
                fix=nearest(key, numbers),
            )
        try:
            number = float(value)
            changes[key] = int(number)
        except (ValueError, OverflowError):
            raise OptionError(
                f'"{value}" is no number', where=f"--target {key}", fix=f"write {key}=NUMBER"
            ) from None
        if changes[key] != number:
            raise OptionError(
                f"{key}={value} is no whole number",
                where="--target",
                fix=f"write {key}={max(changes[key], 1)}",
            )
        limit = MAX_TILES if key == "tiles" else 1 << 40
        if not 1 <= changes[key] <= limit:
            raise OptionError(
                f"{key}={value} is out of range", where="--target", fix=f"give 1 to {limit}"
            )
    if not changes:
        return target
    full = ",".join([name, *(f"{key}={value}" for key, value in changes.items())])
    return dataclasses.replace(target, name=full, **changes)
