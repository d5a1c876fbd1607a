"""Bytes on every tile: what is always live, and what comes and goes with the program's steps.

Categories have the names of Poplar's memory reports. Excluding gaps, a tile needs what is always
live and the largest sum, over program steps, of what is not; each tile may have its peak at another
step, after the measure of PopLibs' own regression tests. Including gaps, it needs what lies below
the highest address in use.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ipuc.profile.cycles import Superstep, step_costs
from ipuc.profile.liveness import Liveness, liveness
from ipuc.profile.placement import (
    ALIGNMENT,
    MATRIX_ALIGNMENT,
    Buffer,
    fields_apart,
    fields_interleaved,
    place,
)
from ipuc.profile.resident import resident
from ipuc.program.program import Program
from ipuc.program.steps import ComputeSet, Execute, Sweep
from ipuc.program.variables import Variable
from ipuc.target import Target
from ipuc.types import Ints

VARIABLES, CONSTANTS, MESSAGES, PADDING = "Variables", "Constants", "Message memory", "Padding"
#: Addresses below the highest in use at which nothing lies when the tile is fullest.
GAPS = "Gaps"


@dataclass(frozen=True, slots=True)
class Held:
    """One variable on one tile at one step."""

    name: str
    layer: str
    bytes: int


@dataclass(frozen=True, slots=True)
class Memory:
    """Memory of a program, tile by tile.

    Attributes:
        target: the machine.
        lives: what is alive when; its steps are the rows below.
        held: bytes of each variable on each tile, alignment included: int64[variables, tiles].
        padding: of those, bytes that only align: int64[variables, tiles].
        always: bytes that are always live, by category: int64[tiles] each.
        messages: buffers of what each tile receives, and of results that leave it, at each step:
            int64[steps, tiles].
        not_always: bytes of variables that are alive at each step but not always, and of
            messages: int64[steps, tiles].
        addresses: first address of each variable; -1 where a tile has none of it:
            int64[variables, tiles].
        tile_bytes: end of the memory that each tile ever uses, gaps included: int64[tiles].
    """

    target: Target
    lives: Liveness
    held: Ints
    padding: Ints
    always: Mapping[str, Ints]
    messages: Ints
    not_always: Ints
    addresses: Ints
    tile_bytes: Ints

    @property
    def always_bytes(self) -> Ints:
        """Bytes that are always live: int64[tiles]."""
        columns: Ints = np.sum(list(self.always.values()), axis=0, dtype=np.int64)
        return columns

    @property
    def live_bytes(self) -> Ints:
        """What each tile needs, excluding gaps: int64[tiles]."""
        peak: Ints = self.not_always.max(axis=0, initial=0)
        need: Ints = self.always_bytes + peak
        return need

    @property
    def worst_tile(self) -> int:
        """The fullest tile, including gaps."""
        return int(self.tile_bytes.argmax())

    @property
    def worst_step(self) -> int | None:
        """The step at which most is alive on the fullest tile; None for a program without steps."""
        if not len(self.not_always):
            return None
        return int(self.not_always[:, self.worst_tile].argmax())

    @property
    def max_tile_bytes(self) -> int:
        """What the fullest tile needs, including gaps."""
        return int(self.tile_bytes.max())

    @property
    def max_live_bytes(self) -> int:
        """What the tile with most bytes needs, excluding gaps."""
        return int(self.live_bytes.max())

    @property
    def total_bytes(self) -> int:
        """What all tiles need, excluding gaps."""
        return int(self.live_bytes.sum())

    @property
    def fits(self) -> bool:
        """Whether no tile needs more than it has, including gaps."""
        return self.max_tile_bytes <= self.target.tile_memory_bytes

    @property
    def tiles_over(self) -> int:
        """Number of tiles that need more than they have, including gaps."""
        return int((self.tile_bytes > self.target.tile_memory_bytes).sum())

    def categories(self) -> dict[str, Ints]:
        """Bytes by category, each tile at its own fullest step: int64[tiles] each.

        They sum to `tile_bytes`, and without the gaps to `live_bytes`.
        """
        tiles = np.arange(self.target.all_tiles)
        made = {name: column.copy() for name, column in self.always.items()}
        made[MESSAGES] = np.zeros(self.target.all_tiles, np.int64)
        if len(self.not_always):
            step = self.not_always.argmax(axis=0)
            alive = self.lives.live[step].T & ~self.lives.always[:, None]
            padding = (self.padding * alive).sum(axis=0)
            messages = self.messages[step, tiles]
            made[MESSAGES] = messages
            made[VARIABLES] = made[VARIABLES] + self.not_always[step, tiles] - messages - padding
            made[PADDING] = made[PADDING] + padding
        made[GAPS] = self.tile_bytes - self.live_bytes
        return made

    def top(self, variables: list[Variable], tile: int, step: int, count: int = 5) -> list[Held]:
        """The largest variables on a tile while a step runs, largest first."""
        found = self.held[:, tile] * self.lives.live[step]
        order = np.argsort(-found, kind="stable")[:count]
        return [
            Held(variables[id_].name, variables[id_].origin, int(found[id_]))
            for id_ in order
            if found[id_]
        ]


def memory(program: Program, costs: Mapping[int, list[Superstep]] | None = None) -> Memory:
    """Count the bytes of every tile, and place them.

    Args:
        program: it has passed the verifier.
        costs: what `ipuc.profile.cycles.step_costs` found, if that is known already.
    """
    costs = step_costs(program) if costs is None else costs
    lives = liveness(program)
    held, padding = _variables(program)
    messages = np.zeros((len(lives.steps), program.target.all_tiles), np.int64)
    for row, step in enumerate(lives.steps):
        for made in costs.get(id(step.step), ()):
            np.maximum(messages[row], made.before.received + made.after.sent, out=messages[row])
    # A product of floats, as NumPy has no fast one of integers; it is exact below 2 ** 53.
    changing = lives.live & ~lives.always
    not_always = (changing.astype(float) @ held.astype(float)).astype(np.int64) + messages
    tables = resident(program, costs)
    floor: Ints = np.sum(list(tables.values()), axis=0, dtype=np.int64)
    always = {**_always(program, lives, held - padding, padding), **tables}
    addresses, end = _place(program, lives, held, floor, messages)
    return Memory(
        program.target, lives, held, padding, always, messages, not_always, addresses, end
    )


def _variables(program: Program) -> tuple[Ints, Ints]:
    """Bytes of each variable on each tile, with alignment, and alignment alone."""
    tiles = program.target.all_tiles
    align = np.full(len(program.variables), ALIGNMENT, np.int64)
    for family in program.families():
        if family.codelet.on_matrix_unit:
            for spec in family.codelet.fields:
                if spec.writes:
                    align[family.fields[spec.name].variable] = MATRIX_ALIGNMENT
    held = np.zeros((len(program.variables), tiles), np.int64)
    for variable in program.variables:
        mapping = variable.mapped()
        size = mapping.lengths(variable.size) * variable.itemsize
        np.add.at(held[variable.id], mapping.tiles, size)
    padding = -held % align[:, None]
    return held + padding, padding


def _always(program: Program, lives: Liveness, held: Ints, padding: Ints) -> dict[str, Ints]:
    """Categories of variables that are always live: int64[tiles] each."""
    constant = np.zeros(len(program.variables), bool)
    constant[list(program.constants)] = True
    return {
        VARIABLES: held[lives.always & ~constant].sum(axis=0),
        CONSTANTS: held[constant].sum(axis=0),
        PADDING: padding[lives.always].sum(axis=0),
    }


def _place(
    program: Program, lives: Liveness, held: Ints, floor: Ints, messages: Ints
) -> tuple[Ints, Ints]:
    """First address of every variable, and the end of what each tile ever uses.

    Args:
        program: whose vertices say what must lie where.
        lives: rows are steps.
        held: int64[variables, tiles].
        floor: bytes of code and tables: int64[tiles].
        messages: int64[steps, tiles].
    """
    steps = np.arange(len(lives.steps))
    kept = np.flatnonzero(lives.always | lives.live.any(axis=0)).tolist()
    buffers = [
        Buffer(held[id_], lives.live[:, id_], always=bool(lives.always[id_])) for id_ in kept
    ]
    of_variable = {id_: number for number, id_ in enumerate(kept)}
    of_step: dict[int, int] = {}
    for row in np.flatnonzero(messages.any(axis=1)).tolist():
        of_step[row] = len(buffers)
        buffers.append(Buffer(messages[row], steps == row))
    _constrain(lives, buffers, of_variable, of_step)
    placed = place(program.target, floor, buffers)
    addresses = np.full(held.shape, -1, np.int64)
    addresses[kept] = placed.begins[: len(kept)]
    addresses[held == 0] = -1
    return addresses, placed.end


def _constrain(
    lives: Liveness,
    buffers: list[Buffer],
    of_variable: Mapping[int, int],
    of_step: Mapping[int, int],
) -> None:
    """Say which buffers must be interleaved, and which must lie apart.

    What a vertex reads from other tiles lies in the message buffer of its step. Two inputs that
    both come from there are in one buffer: that they lie apart within it is not modelled.
    """
    for row, step in enumerate(lives.steps):
        if not isinstance(step.step, Execute | Sweep):
            continue
        arriving = of_step.get(row)
        for one, other, is_read in _pairs(step.step.compute_set):
            first, second = of_variable[one], of_variable[other]
            pairs = [(first, second)]
            if arriving is not None:
                pairs += [(arriving, second)] + [(first, arriving)] * is_read
            for this, that in pairs:
                buffers[this].apart.add(that)
                buffers[that].apart.add(this)
        for family in step.step.compute_set.families:
            for name in fields_interleaved(family.codelet):
                buffers[of_variable[family.fields[name].variable]].interleaved = True


def _pairs(compute_set: ComputeSet) -> set[tuple[int, int, bool]]:
    """Variables that must lie apart in a compute set, and whether the second one is read."""
    found: set[tuple[int, int, bool]] = set()
    for family in compute_set.families:
        for one, other in fields_apart(family.codelet):
            ids = family.fields[one].variable, family.fields[other].variable
            if ids[0] != ids[1]:
                found.add((*ids, family.codelet.spec(other).reads))
    return found


__all__ = ["Held", "Memory", "memory"]
