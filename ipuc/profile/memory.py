"""Bytes on every tile: what is always live, and what comes and goes with the program's steps.

Categories have the names of Poplar's memory reports. The need of a tile is what is always live
and the largest sum, over program steps, of what is not; that each tile may have its peak at
another step follows the measure of PopLibs' own regression tests.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ipuc.profile.cycles import Superstep, step_costs
from ipuc.profile.liveness import Liveness, liveness
from ipuc.program.family import VertexFamily
from ipuc.program.program import Program
from ipuc.program.variables import Variable
from ipuc.target import Target
from ipuc.types import Ints

#: Bytes of every tile of a nearly empty program. Source: the profile of the adder sample in the
#: manual of the TensorFlow port (Mk1): stack, control code, host exchange code, packet headers.
STACK_BYTES = 3168
CONTROL_CODE_BYTES = 700
HOST_EXCHANGE_CODE_BYTES = 289
HEADER_BYTES = 9
#: Control code of one program step: calls of exchange, run and sync. Our own estimate.
STEP_CODE_BYTES = 16
#: An entry in the table of what to run, and the vertex's own state; and a pointer for each edge.
#: Source: vertex state and edge pointers of the adder sample, divided by its vertices and edges.
VERTEX_BYTES = 8
EDGE_BYTES = 4
#: A row piece of a worklist is three 16-bit numbers. Source: PopLibs ConvUtilInternal.cpp.
ROW_PIECE_BYTES = 6
#: Code of a codelet, once on every tile that has such a vertex; those of the matrix unit have
#: several loops. Our own estimate, within the 0.5 to 3 kB that such codelets take.
CODELET_BYTES = 1024
MATRIX_CODELET_BYTES = 3072
#: An instruction for each piece that is sent or received. Source: PopLibs, about 4 B a message.
MESSAGE_CODE_BYTES = 4
#: Alignment of variables, and of what the matrix unit writes. Source: PopLibs' vertex fields.
ALIGNMENT, MATRIX_ALIGNMENT = 8, 16

VARIABLES, CONSTANTS, MESSAGES, PADDING = "Variables", "Constants", "Message memory", "Padding"
#: What comes and goes; everything else is always live.
NOT_ALWAYS_LIVE = "Not always live"


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
    """

    target: Target
    lives: Liveness
    held: Ints
    padding: Ints
    always: Mapping[str, Ints]
    messages: Ints
    not_always: Ints

    @property
    def always_bytes(self) -> Ints:
        """Bytes that are always live: int64[tiles]."""
        columns: Ints = np.sum(list(self.always.values()), axis=0, dtype=np.int64)
        return columns

    @property
    def tile_bytes(self) -> Ints:
        """What each tile needs: int64[tiles]."""
        peak: Ints = self.not_always.max(axis=0, initial=0)
        need: Ints = self.always_bytes + peak
        return need

    @property
    def worst_tile(self) -> int:
        """The fullest tile."""
        return int(self.tile_bytes.argmax())

    @property
    def worst_step(self) -> int | None:
        """The step at which the fullest tile is fullest; None for a program without steps."""
        if not len(self.not_always):
            return None
        return int(self.not_always[:, self.worst_tile].argmax())

    @property
    def max_tile_bytes(self) -> int:
        """What the fullest tile needs."""
        return int(self.tile_bytes.max())

    @property
    def total_bytes(self) -> int:
        """What all tiles need."""
        return int(self.tile_bytes.sum())

    @property
    def fits(self) -> bool:
        """Whether no tile needs more than it has."""
        return self.max_tile_bytes <= self.target.tile_memory_bytes

    @property
    def tiles_over(self) -> int:
        """Number of tiles that need more than they have."""
        return int((self.tile_bytes > self.target.tile_memory_bytes).sum())

    def categories(self) -> dict[str, Ints]:
        """Bytes by category, each tile at its own fullest step: int64[tiles] each.

        They sum to `tile_bytes`.
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
    """Count the bytes of every tile.

    Args:
        program: it has passed the verifier.
        costs: what `ipuc.profile.cycles.step_costs` found, if that is known already.
    """
    costs = step_costs(program) if costs is None else costs
    tiles = program.target.all_tiles
    lives = liveness(program)
    held, padding = _variables(program)
    messages = np.zeros((len(lives.steps), tiles), np.int64)
    for row, step in enumerate(lives.steps):
        for made in costs.get(id(step.step), ()):
            np.maximum(messages[row], made.before.received + made.after.sent, out=messages[row])
    # A product of floats, as NumPy has no fast one of integers; it is exact below 2 ** 53.
    changing = lives.live & ~lives.always
    not_always = (changing.astype(float) @ held.astype(float)).astype(np.int64) + messages
    always = _always(program, lives, held - padding, padding, costs)
    return Memory(program.target, lives, held, padding, always, messages, not_always)


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


def _always(
    program: Program,
    lives: Liveness,
    held: Ints,
    padding: Ints,
    costs: Mapping[int, list[Superstep]],
) -> dict[str, Ints]:
    """Categories that are always live: int64[tiles] each."""
    tiles = program.target.all_tiles
    constant = np.zeros(len(program.variables), bool)
    constant[list(program.constants)] = True
    vertices, pointers, worklists, code = _vertices(program)
    messages = np.zeros(tiles, np.int64)
    for made in costs.values():
        for superstep in made:
            for traffic in (superstep.before, superstep.after):
                messages += traffic.fragments + traffic.sends
    steps = sum(len(made) for made in costs.values())
    each = np.ones(tiles, np.int64)
    return {
        VARIABLES: held[lives.always & ~constant].sum(axis=0),
        CONSTANTS: held[constant].sum(axis=0),
        PADDING: padding[lives.always].sum(axis=0),
        "Stack": STACK_BYTES * each,
        "Vertex Instances": vertices,
        "Vertex Field Data": pointers,
        "Worklists": worklists,
        "Vertex Code": code,
        "Internal Exchange Code": messages * MESSAGE_CODE_BYTES,
        "Control Code": (CONTROL_CODE_BYTES + steps * STEP_CODE_BYTES) * each,
        "Host Exchange Code": HOST_EXCHANGE_CODE_BYTES * each,
        "Host Exchange Packet Headers": HEADER_BYTES * each,
    }


def _vertices(program: Program) -> tuple[Ints, Ints, Ints, Ints]:
    """Bytes of vertex state, edge pointers, worklists and codelets: int64[tiles] each."""
    tiles = program.target.all_tiles
    state, pointers, worklists, code = np.zeros((4, tiles), np.int64)
    has: dict[str, Ints] = {}
    for family in program.families():
        count = np.bincount(family.tile.dense().reshape(-1), minlength=tiles)
        state += count * VERTEX_BYTES
        pointers += count * (family.edges() // family.count * EDGE_BYTES)
        # Vertices of one family on one tile share theirs: their windows are alike.
        worklists += (count > 0) * worklist_bytes(program, family)
        name = family.codelet.name
        has[name] = has.get(name, np.zeros(tiles, np.int64)) | (count > 0)
    sizes = code_bytes(program)
    for name, used in has.items():
        code += used * sizes[name]
    return state, pointers, worklists, code


def code_bytes(program: Program) -> dict[str, int]:
    """Bytes of code of each codelet, on every tile that has such a vertex."""
    sizes: dict[str, int] = {}
    for family in program.families():
        codelet = family.codelet
        size = MATRIX_CODELET_BYTES if codelet.on_matrix_unit else CODELET_BYTES
        sizes[codelet.name] = max(size, sizes.get(codelet.name, 0))
    return sizes


def worklist_bytes(program: Program, family: VertexFamily) -> int:
    """Bytes of the lists that say which outputs each worker makes.

    The rows of outputs are cut into equal runs, one for each worker, so there are at most as many
    pieces as rows and workers less one; the codelet knows how many such lists it has.
    Source: PopLibs ConvUtilInternal.cpp, and its vertices' worklist fields.
    """
    windows, codelet = family.windows(), family.codelet
    workers = program.target.worker_contexts
    if family.workers == "one":
        return 0
    if codelet.name == "Pooling":
        batch, _, *field = windows["out"]
        return (batch * math.prod(field[:-1]) + workers - 1) * ROW_PIECE_BYTES
    sizes = {name: program.variables[a.variable].itemsize for name, a in family.fields.items()}
    return codelet.row_pieces(windows, workers, codelet.itemsize(sizes)) * ROW_PIECE_BYTES
