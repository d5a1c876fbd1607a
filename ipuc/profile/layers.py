"""Memory by layer of the model."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ipuc.profile.cycles import Superstep
from ipuc.profile.memory import Memory
from ipuc.profile.resident import exchange_code_bytes, state_bytes
from ipuc.program.program import Program


@dataclass(slots=True)
class LayerMemory:
    """Bytes of one layer, excluding gaps.

    Attributes:
        peak_tile: of the fullest tile of the layer's IPU, whatever lies there, at the worst of the
            layer's steps; None for a layer without steps.
        always: of all tiles: variables that are always live and that the layer brought, the state
            of its vertices and its exchange code. Stacks, and code that layers share, are nobody's;
            vertices that layers share count for the first of them.
        changing: of all tiles: what is alive, but not always, at the fullest of the layer's steps;
            None for a layer without steps.
    """

    peak_tile: int | None = None
    always: int = 0
    changing: int | None = None


def memory_by_layer(
    program: Program, memory: Memory, steps: Iterable[Superstep]
) -> dict[str, LayerMemory]:
    """Memory of every layer that has steps, vertices or variables; "" is what belongs to none.

    Args:
        program: what was profiled.
        memory: of that program.
        steps: its supersteps; each counts once, however often it runs.
    """
    found: dict[str, LayerMemory] = {}
    ipu: dict[str, int] = {}
    for step in steps:
        ipu[step.layer] = step.ipu
        mine = found.setdefault(step.layer, LayerMemory())
        mine.always += 0 if step.again else int(exchange_code_bytes(step).sum())
    for variable in program.variables:
        if memory.lives.always[variable.id]:
            mine = found.setdefault(variable.origin, LayerMemory())
            mine.always += int(memory.held[variable.id].sum())
    for family in program.families():
        mine = found.setdefault(family.layer, LayerMemory())
        mine.always += sum(int(part.sum()) for part in state_bytes(program, family))
    always = memory.always_bytes
    for row, lived in enumerate(memory.lives.steps):
        mine = found.setdefault(lived.layer, LayerMemory())
        need = (always + memory.not_always[row]).reshape(program.target.ipus, -1)
        fullest = int(need[ipu.get(lived.layer, 0)].max())
        mine.peak_tile = max(mine.peak_tile or 0, fullest)
        mine.changing = max(mine.changing or 0, int(memory.not_always[row].sum()))
    return found
