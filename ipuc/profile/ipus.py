"""A profile by IPU, and what goes over the links between them."""

from __future__ import annotations

from typing import Any

import numpy as np

from ipuc.profile.record import Profile
from ipuc.types import Ints


def links(found: Profile) -> Ints:
    """Bytes that one run sends from each IPU to each other: int64[ipus, ipus]."""
    ipus = found.program.target.ipus
    none = np.zeros((ipus, ipus), np.int64)
    total: Ints = none + sum(step.links * step.times for step in found.steps)
    return total


def transfers(found: Profile) -> list[dict[str, int]]:
    """The same as JSON values: from, to and bytes of every two IPUs between which bytes go."""
    total = links(found)
    return [
        {"from": int(source), "to": int(target), "bytes": int(total[source, target])}
        for source, target in np.argwhere(total)
    ]


def by_ipu(found: Profile) -> list[dict[str, Any]]:
    """One row for each IPU.

    Cycles are those of the supersteps that it computes, so those of all IPUs add up to the total:
    the others wait meanwhile. Layers without vertices or copies are on no IPU.
    """
    program, memory, target = found.program, found.memory, found.program.target
    total = links(found)
    vertices = np.zeros(target.ipus, np.int64)
    for family in program.families():
        on = family.tile.dense().reshape(-1) // target.tiles
        vertices += np.bincount(on, minlength=target.ipus)
    need = memory.tile_bytes.reshape(target.ipus, -1)
    live = memory.live_bytes.reshape(target.ipus, -1)
    rows: list[dict[str, Any]] = []
    for ipu in range(target.ipus):
        steps = [step for step in found.steps if step.ipu == ipu]
        cycles = sum(step.cycles * step.times for step in steps)
        rows.append(
            {
                "ipu": ipu,
                "layers": len({step.layer for step in steps if step.layer}),
                "supersteps": sum(step.times for step in steps),
                "vertices": int(vertices[ipu]),
                "cycles": cycles,
                "share": cycles / max(found.cycles["total"], 1),
                "bytes_in": int(total[:, ipu].sum()),
                "bytes_out": int(total[ipu].sum()),
                "max_tile_bytes": int(need[ipu].max()),
                "total_bytes": int(live[ipu].sum()),
                "fits": bool(need[ipu].max() <= target.tile_memory_bytes),
            }
        )
    return rows
