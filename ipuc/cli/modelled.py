"""What a program would cost, as `compile` notes it in the file and other commands read it."""

from __future__ import annotations

from typing import Any

from ipuc.cli.output import Progress, warn
from ipuc.errors import OutOfTileMemory
from ipuc.importer.limits import readable
from ipuc.profile.ipus import links
from ipuc.profile.record import profile
from ipuc.program.program import Program

#: The key of a program's metadata under which its modelled cost stands.
KEY = "modelled"

#: Categories of the fullest tile that the error names.
_KINDS = 4
#: How to go on with a program that does not fit.
_FIX = (
    "compile it anew with less: `ipuc compile` tries what may help and says what that costs; "
    "ipuc run --allow-oom runs it all the same"
)


def note_cost(program: Program, progress: Progress) -> None:
    """Write the modelled cost of a program into its metadata, where it stays when saved."""
    found = profile(program, lambda done, of: progress("profile", done, of))
    program.metadata[KEY] = {
        "cycles": found.cycles["total"],
        "seconds": found.seconds,
        "error": found.error,
        "link_bytes": int(links(found).sum()),
        "memory": found.memory_summary(),
    }


def cost_of(program: Program) -> dict[str, Any]:
    """What `note_cost` has written: cycles, seconds, error, memory; empty where it has not."""
    known = program.metadata.get(KEY)
    return known if isinstance(known, dict) else {}


def noted_memory(program: Program) -> dict[str, Any]:
    """The part of `cost_of` that is about memory; empty where nothing is noted."""
    memory = cost_of(program).get("memory")
    return memory if isinstance(memory, dict) else {}


def memory_line(memory: dict[str, Any]) -> str:
    """Memory in one line for people."""
    need, limit = memory["max_tile_bytes"], memory["limit_bytes"]
    at = f" at {memory['worst_step']}" if memory["worst_step"] else ""
    fits = "fits" if memory["fits"] else f"does not fit on {memory['tiles_over']:,} tiles"
    return (
        f"tile {memory['worst_tile']} is fullest{at}, {need:,} of {limit:,} bytes including gaps; "
        f"excluding gaps {memory.get('max_tile_bytes_excluding_gaps', need):,}, and "
        f"{readable(memory['total_bytes'])} in all: {fits}"
    )


def too_large(memory: dict[str, Any], fix: str = _FIX) -> OutOfTileMemory:
    """The error that says which tile, tensors, layer and step do not fit."""
    held = ", ".join(
        f"{item['name']} of {item['layer'] or 'no layer'} ({item['bytes']:,} bytes)"
        for item in memory["top"]
    )
    need, limit = memory["max_tile_bytes"], memory["limit_bytes"]
    where = f"tile {memory['worst_tile']}"
    if memory["worst_step"]:
        where += f", step {memory['worst_step']}"
    if memory["worst_layer"]:
        where += f", layer {memory['worst_layer']}"
    kinds = sorted(
        ((item["worst_tile_bytes"], name) for name, item in memory["categories"].items()),
        reverse=True,
    )
    if kinds:
        most = ", ".join(f"{name} {size:,}" for size, name in kinds[:_KINDS])
        where += f"; by category: {most} bytes"
    if held:
        where += f"; largest there: {held}"
    return OutOfTileMemory(
        f"the program does not fit: {need:,} bytes are needed on a tile that has {limit:,}; "
        f"{memory['tiles_over']:,} tiles are too small",
        where=where,
        fix=fix,
    )


def warn_if_too_large(memory: dict[str, Any]) -> None:
    """Warn in one line that a program does not fit; nothing is said where that is not known."""
    if memory.get("fits") is False:
        warn(
            f"the program does not fit: tile {memory.get('worst_tile')} needs "
            f"{memory.get('max_tile_bytes')} of {memory.get('limit_bytes')} bytes"
        )


def refuse_if_too_large(program: Program, *, allowed: bool) -> None:
    """Hold a program that is marked as too large to its target's memory before it runs.

    Raises:
        OutOfTileMemory: it does not fit, and that is not allowed.
    """
    if noted_memory(program).get("fits") is not False:
        return
    # The note is somebody's file: the words come from the program itself.
    memory = profile(program).memory_summary()
    if not allowed and not memory["fits"]:
        raise too_large(memory)
    warn_if_too_large(memory)
