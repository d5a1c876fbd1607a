"""Tables of a profile: by layer, compute set, codelet, tile, program step and IPU.

A table is a list of rows; a row is a dict of JSON values with the same keys in every row.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ipuc.profile.cycles import Superstep
from ipuc.profile.ipus import by_ipu, links, transfers
from ipuc.profile.layers import LayerMemory, memory_by_layer
from ipuc.profile.record import Profile, balance, peak_flops
from ipuc.profile.resident import vertex_code
from ipuc.program.program import Layer
from ipuc.types import Ints

Row = dict[str, Any]


def by_layer(found: Profile) -> list[Row]:
    """One row for each layer of the model, in order, and one for steps of no layer, if any."""
    steps: dict[str, list[Superstep]] = {layer.name: [] for layer in found.program.layers}
    for step in found.steps:
        steps.setdefault(step.layer, []).append(step)
    known = {layer.name: layer for layer in found.program.layers}
    total = max(found.cycles["total"], 1)
    memory = memory_by_layer(found.program, found.memory, found.steps)
    return [
        _layer(found, name, known.get(name), mine, total, memory.get(name, LayerMemory()))
        for name, mine in steps.items()
    ]


def _layer(
    found: Profile,
    name: str,
    layer: Layer | None,
    steps: list[Superstep],
    total: int,
    memory: LayerMemory,
) -> Row:
    compute = sum(int(s.compute.max(initial=0)) * s.times for s in steps)
    exchange = sum(s.exchange * s.times for s in steps)
    sync = sum(s.sync * s.times for s in steps)
    cycles, flops = compute + exchange + sync, sum(s.flops * s.times for s in steps)
    work = sum(
        (s.compute * s.times for s in steps), np.zeros(found.program.target.all_tiles, np.int64)
    )
    mean = float(_own(found, work).mean())
    peak = peak_flops(found.program) * cycles / found.program.target.clock_hz
    parts = {"compute": compute, "exchange": exchange, "sync": sync}
    return {
        "name": name or None,
        "op": layer.op if layer else None,
        "nodes": list(layer.nodes) if layer else [],
        "cycles": cycles,
        "share": cycles / total,
        **parts,
        "flops": flops,
        "peak_share": flops / peak if peak else 0.0,
        "bound": max(parts, key=lambda part: parts[part]) if cycles else None,
        "tiles": int((work > 0).sum()),
        "balance": compute / mean if mean else None,
        "bytes_exchanged": _exchanged(steps),
        "link_bytes": sum(int(s.links.sum()) * s.times for s in steps),
        "ipu": steps[0].ipu if steps else None,
        "peak_tile_bytes": memory.peak_tile,
        "always_live_bytes": memory.always,
        "not_always_live_bytes": memory.changing,
    }


def _own(found: Profile, compute: Ints) -> Ints:
    """Of cycles by tile, those of the IPUs that compute at all; of the first if none does."""
    by_ipu = compute.reshape(found.program.target.ipus, -1)
    busy = by_ipu[by_ipu.any(axis=1)]
    return busy if len(busy) else by_ipu[:1]


def _exchanged(steps: list[Superstep]) -> int:
    return sum(int((s.before.received + s.after.received).sum()) * s.times for s in steps)


def by_compute_set(found: Profile) -> list[Row]:
    """One row for each superstep: compute sets and copies, in the order in which they run."""
    return [
        {
            "name": step.name,
            "layer": step.layer or None,
            "layer_pass": step.layer_pass or None,
            "kind": step.kind,
            "times": step.times,
            "cycles": step.cycles * step.times,
            "compute": int(step.compute.max(initial=0)) * step.times,
            "exchange": step.exchange * step.times,
            "sync": step.sync * step.times,
            "flops": step.flops * step.times,
            "vertices": sum(step.vertices.values()),
            "tiles": int((step.compute > 0).sum()),
            "balance": balance(_own(found, step.compute)),
            "bytes_exchanged": _exchanged([step]),
            "link_bytes": int(step.links.sum()) * step.times,
            "ipu": step.ipu,
        }
        for step in found.steps
    ]


def by_codelet(found: Profile) -> list[Row]:
    """One row for each vertex type.

    `vertex_cycles` are those of its vertices, added up over vertices and runs; where one worker
    runs a vertex they are that worker's.
    """
    cycles: dict[str, int] = {}
    for step in found.steps:
        for name, spent in step.codelet_cycles.items():
            cycles[name] = cycles.get(name, 0) + spent * step.times
    rows: dict[str, Row] = {}
    tiles = {name: np.zeros(found.program.target.all_tiles, bool) for name in cycles}
    for family in found.program.families():
        name = family.codelet.name
        row = rows.setdefault(
            name,
            {
                "name": name,
                "vertices": 0,
                "edges": 0,
                "vertex_cycles": cycles.get(name, 0),
                "share": cycles.get(name, 0) / max(sum(cycles.values()), 1),
                "tiles": 0,
                "code_bytes": 0,
            },
        )
        row["vertices"] += family.count
        row["edges"] += family.edges()
        used = tiles.setdefault(name, np.zeros(found.program.target.all_tiles, bool))
        used[family.tile.dense().reshape(-1)] = True
    code = vertex_code(found.program)
    for name, row in rows.items():
        row["tiles"] = int(tiles[name].sum())
        row["code_bytes"] = int(code[name].sum())
    return list(rows.values())


def by_tile(found: Profile) -> list[Row]:
    """One row for each tile."""
    none = np.zeros(found.program.target.all_tiles, np.int64)
    compute = sum((s.compute * s.times for s in found.steps), none)
    phases = [(t, s.times) for s in found.steps for t in (s.before, s.after)]
    received = sum((t.received * times for t, times in phases), none)
    sent = sum((t.sent * times for t, times in phases), none)
    memory = found.memory
    total = max(found.cycles["total"], 1)
    always, live, need = memory.always_bytes, memory.live_bytes, memory.tile_bytes
    columns = (compute, received, sent, always, live - always, need - live, need)
    return [
        {
            "tile": tile,
            "compute": spent,
            "busy": spent / total,
            "bytes_received": came,
            "bytes_sent": went,
            "always_live_bytes": stays,
            "not_always_live_bytes": peak,
            "gap_bytes": gaps,
            "memory_bytes": total_bytes,
        }
        for tile, (spent, came, went, stays, peak, gaps, total_bytes) in enumerate(
            zip(*(column.tolist() for column in columns), strict=True)
        )
    ]


def by_step(found: Profile) -> list[Row]:
    """One row for each program step: what is alive on the chip while it runs, excluding gaps."""
    memory = found.memory
    always = memory.always_bytes
    rows: list[Row] = []
    for number, (step, changing) in enumerate(
        zip(memory.lives.steps, memory.not_always, strict=True)
    ):
        need = always + changing
        rows.append(
            {
                "step": number,
                "name": step.name,
                "layer": step.layer or None,
                "kind": type(step.step).__name__,
                "not_always_live_bytes": int(changing.sum()),
                "message_bytes": int(memory.messages[number].sum()),
                "max_tile_bytes": int(need.max()),
                "fullest_tile": int(need.argmax()),
            }
        )
    return rows


#: Every table by its name on the command line.
TABLES: dict[str, Callable[[Profile], list[Row]]] = {
    "layer": by_layer,
    "compute-set": by_compute_set,
    "codelet": by_codelet,
    "tile": by_tile,
    "step": by_step,
    "ipu": by_ipu,
}


def to_json(found: Profile) -> dict[str, Any]:
    """Everything, as JSON values by stable names."""
    return {
        **found.summary(),
        "link_bytes": int(links(found).sum()),
        "links": transfers(found),
        "by_ipu": by_ipu(found),
        "memory": found.memory_summary(),
        "layers": by_layer(found),
        "compute_sets": by_compute_set(found),
        "vertex_types": by_codelet(found),
        "tiles": by_tile(found),
        "steps": by_step(found),
    }


def in_order(rows: list[Row], column: str) -> list[Row]:
    """Rows by a column, largest first; words from A to Z, and nothing at the end."""

    def key(row: Row) -> tuple[bool, Any]:
        value = row[column]
        if value is None or (isinstance(value, float) and math.isnan(value)):
            return True, 0
        return False, -value if isinstance(value, int | float) else value

    nothing = [row for row in rows if key(row)[0]]
    return sorted((row for row in rows if not key(row)[0]), key=key) + nothing
