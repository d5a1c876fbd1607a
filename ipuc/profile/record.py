"""The profile of a program: cycles, bytes and seconds that are modelled, not measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ipuc.profile.accuracy import error_of
from ipuc.profile.cycles import (
    Superstep,
    busy_cycles,
    global_busy_cycles,
    global_cycles,
    step_costs,
    supersteps,
)
from ipuc.profile.memory import Memory, memory
from ipuc.program.program import Program
from ipuc.target import Target

#: What every total says of itself.
MODELLED = "modelled, not measured"


@dataclass(frozen=True, slots=True)
class Profile:
    """What a program would cost.

    Attributes:
        program: what was profiled.
        steps: its supersteps in order; `times` says how often each runs.
        memory: bytes tile by tile.
    """

    program: Program
    steps: list[Superstep]
    memory: Memory

    @property
    def cycles(self) -> dict[str, int]:
        """Cycles of one run: total, compute, exchange, sync."""
        compute = sum(int(step.compute.max(initial=0)) * step.times for step in self.steps)
        exchange = sum(step.exchange * step.times for step in self.steps)
        sync = sum(step.sync * step.times for step in self.steps)
        return {
            "total": compute + exchange + sync,
            "compute": compute,
            "exchange": exchange,
            "sync": sync,
        }

    @property
    def seconds(self) -> float:
        """Seconds of one run at the target's clock."""
        return self.cycles["total"] / self.program.target.clock_hz

    @property
    def flops(self) -> int:
        """Floating point operations of one run that codelets declare."""
        return sum(step.flops * step.times for step in self.steps)

    @property
    def error(self) -> dict[str, Any]:
        """What the cost model's measured error says of the totals; see `error_of`."""
        return error_of(self.program, self.steps)

    def summary(self) -> dict[str, Any]:
        """Totals, as JSON values."""
        target, peak = self.program.target, peak_flops(self.program)
        seconds = self.seconds
        rate = self.flops / seconds if seconds else 0.0
        return {
            "model": self.program.metadata.get("model"),
            "target": target.name,
            "ipus": target.ipus,
            "tile_count": target.all_tiles,
            "clock_hz": target.clock_hz,
            "granularity": self.program.metadata.get("granularity"),
            "precision": self.program.metadata.get("precision"),
            "basis": MODELLED,
            "error": self.error,
            "cycles": self.cycles,
            "passes": self.passes(),
            "tile_average": self.tile_average(),
            "seconds": seconds,
            "flops": self.flops,
            "tflops": rate / 1e12,
            "peak_tflops": peak / 1e12,
            "peak_share": rate / peak,
            "supersteps": sum(step.times for step in self.steps),
            "bytes_exchanged": sum(
                step.times * int((step.before.received + step.after.received).sum())
                for step in self.steps
            ),
            "vertices": sum(family.count for family in self.program.families()),
            "edges": sum(family.edges() for family in self.program.families()),
            "variables": len(self.program.variables),
            "compute_set_count": len(self.program.compute_sets()),
            "copy_count": len(self.program.copies()),
        }

    def tile_average(self) -> dict[str, float]:
        """Cycles of a run in which the mean tile computes, sends or receives, and synchronises.

        In what is left of the total it waits for slower tiles: compute of `cycles` over compute
        here is the balance of the whole program.
        """
        target = self.program.target
        compute = sum(float(step.compute.mean()) * step.times for step in self.steps)
        exchange = sum(
            float((busy_cycles(target, traffic) + global_busy_cycles(target, traffic)).mean())
            * step.times
            for step in self.steps
            for traffic in (step.before, step.after)
        )
        sync = 0.0
        for step in self.steps:
            # All IPUs take part in an external barrier, one in a barrier of its own.
            distant = sum(global_cycles(target, one) > 0 for one in (step.before, step.after))
            external = distant * target.external_sync_cycles
            sync += (external + (step.sync - external) / target.ipus) * step.times
        return {"compute": compute, "exchange": exchange, "sync": sync}

    def passes(self) -> dict[str, int]:
        """Cycles of every layer pass: forward, backward, ..."""
        spent: dict[str, int] = {}
        for step in self.steps:
            name = step.layer_pass or "forward"
            spent[name] = spent.get(name, 0) + step.cycles * step.times
        return spent

    def memory_summary(self) -> dict[str, Any]:
        """Memory totals, the fullest tile, and what is on it, as JSON values."""
        found, tile, row = self.memory, self.memory.worst_tile, self.memory.worst_step
        categories = found.categories()
        always, need, live = found.always_bytes, found.tile_bytes, found.live_bytes
        made: dict[str, Any] = {
            "max_tile_bytes": found.max_tile_bytes,
            "max_tile_bytes_excluding_gaps": found.max_live_bytes,
            "total_bytes": found.total_bytes,
            "total_bytes_including_gaps": int(need.sum()),
            "always_live_bytes": int(always.sum()),
            "not_always_live_bytes": int((live - always).sum()),
            "limit_bytes": found.target.tile_memory_bytes,
            "fits": found.fits,
            "tiles_over": found.tiles_over,
            "worst_tile": tile,
            "worst_tile_bytes": {
                "including_gaps": int(need[tile]),
                "excluding_gaps": int(live[tile]),
                "always_live": int(always[tile]),
                "not_always_live": int(live[tile] - always[tile]),
            },
            "worst_step": None,
            "worst_layer": None,
            "top": [],
            "categories": {
                name: {"total_bytes": int(column.sum()), "worst_tile_bytes": int(column[tile])}
                for name, column in categories.items()
            },
        }
        if row is not None:
            step = found.lives.steps[row]
            made["worst_step"], made["worst_layer"] = step.name, step.layer or None
            made["top"] = [
                {"name": held.name, "layer": held.layer, "bytes": held.bytes}
                for held in found.top(self.program.variables, tile, row)
            ]
        return made


def profile(program: Program, progress: Callable[[int, int], None] | None = None) -> Profile:
    """Cost a program.

    Args:
        program: it has passed the verifier.
        progress: called with (steps costed, steps in all).
    """
    costs = step_costs(program, progress)
    return Profile(program, supersteps(program, costs), memory(program, costs))


def peak_flops(program: Program) -> float:
    """Floating point operations a second of all matrix units, at the program's precision.

    A unit takes one float32 or four float16 products a cycle. Source: the rates of the AMP unit
    in PopLibs' planner, and the peaks that follow from them.
    """
    target: Target = program.target
    # "mixed,conv1=float32": what most layers have decides.
    formats = str(program.metadata.get("precision")).split(",")[0]
    products = {
        "float16": 4 * target.conv_units_float16,
        "mixed": 4 * target.conv_units_mixed,
    }.get(formats, target.conv_units_float32)
    return 2.0 * products * target.tiles * target.clock_hz


def balance(compute: Any) -> float | None:
    """Largest over mean of the cycles of all tiles; None where no tile computes."""
    mean = float(np.mean(compute))
    return float(np.max(compute)) / mean if mean else None
