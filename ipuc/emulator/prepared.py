"""What the steps of a program come to in the fast mode: worked out once, kept with the program."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from ipuc.emulator.coalesce import coalesce
from ipuc.emulator.lifetimes import last_uses, wholly_written
from ipuc.emulator.moves import Moves
from ipuc.emulator.parts import elements, parted
from ipuc.program.family import VertexFamily
from ipuc.program.operand import Reach, reach
from ipuc.program.program import Program
from ipuc.program.steps import ComputeSet, Copy, Sequence, Sweep
from ipuc.types import Shape

_KEY = "fast emulator"


@dataclass(frozen=True, slots=True)
class Field:
    """A field of joined vertices: its name, its variable, and where it lies there."""

    name: str
    variable: int
    reach: Reach


@dataclass(frozen=True, slots=True)
class Batched:
    """Vertices that are computed in one call.

    Attributes:
        family: the vertices.
        windows: shape of one vertex's window, by field name.
        reads: fields that they read.
        writes: fields that they write, by name.
        fills: of those, the ones that the codelet may fill in memory: floats of variables that the
            family reads by this field only, if at all; each element is of one vertex.
        narrowed: they write a variable that carries long integers.
        elements: of all fields of all vertices.
        parts: the same vertices in several calls that may run at the same time; none where there is
            little to do.
    """

    family: VertexFamily
    windows: Mapping[str, Shape]
    reads: tuple[Field, ...]
    writes: Mapping[str, Field]
    fills: tuple[Field, ...]
    narrowed: bool
    elements: int
    parts: tuple[Batched, ...] = ()


@dataclass(frozen=True, slots=True)
class Work:
    """A compute set: variables of which it writes every element and reads none, and its calls."""

    whole: frozenset[int]
    calls: tuple[Batched, ...]


class Prepared:
    """The steps of one program.

    Everything is found by the step itself, so a step that is taken out of the program or put into
    another one cannot be mistaken for what stood in its place.
    """

    def __init__(self, program: Program) -> None:
        self.program = program
        self._works: dict[int, tuple[ComputeSet, Work]] = {}
        self._parts: dict[tuple[int, int], tuple[Sweep, ComputeSet]] = {}
        self._moves: dict[tuple[int, bool], tuple[Copy, Moves]] = {}
        self._last: tuple[Sequence, list[list[int]]] | None = None

    def work(self, compute_set: ComputeSet) -> Work:
        """What a compute set comes to."""
        known = self._works.get(id(compute_set))
        if known is None or known[0] is not compute_set:
            calls = tuple(self._in_parts(family) for family in coalesce(compute_set.families))
            read = {field.variable for call in calls for field in call.reads}
            whole = frozenset(wholly_written(self.program, compute_set) - read)
            known = self._works[id(compute_set)] = compute_set, Work(whole, calls)
        return known[1]

    def part(self, sweep: Sweep, index: int) -> ComputeSet:
        """One superstep of a sweep."""
        known = self._parts.get((id(sweep), index))
        if known is None or known[0] is not sweep:
            known = self._parts[id(sweep), index] = sweep, sweep.at(index)
        return known[1]

    def moves(self, copy: Copy, *, saturate: bool) -> Moves:
        """What a copy comes to."""
        known = self._moves.get((id(copy), saturate))
        if known is None or known[0] is not copy:
            known = copy, Moves(self.program, copy, saturate=saturate)
            self._moves[id(copy), saturate] = known
        return known[1]

    def last_uses(self) -> list[list[int]]:
        """See `ipuc.emulator.lifetimes.last_uses`."""
        if self._last is None or self._last[0] is not self.program.main:
            self._last = self.program.main, last_uses(self.program)
        return self._last[1]

    def _in_parts(self, family: VertexFamily) -> Batched:
        whole = self._batched(family)
        parts = parted(family)
        if len(parts) > 1:
            whole = replace(whole, parts=tuple(self._batched(part) for part in parts))
        return whole

    def _batched(self, family: VertexFamily) -> Batched:
        variables = self.program.variables
        fields = {
            name: Field(name, access.variable, reach(access))
            for name, access in family.fields.items()
        }
        reads = tuple(fields[spec.name] for spec in family.codelet.fields if spec.reads)
        writes = {spec.name: fields[spec.name] for spec in family.codelet.fields if spec.writes}
        fills = tuple(
            field
            for field in writes.values()
            if all(field.variable != one.variable for one in reads if one.name != field.name)
            and field.reach.fillable
            and variables[field.variable].dtype == "float32"
        )
        narrowed = any(variables[field.variable].narrowed for field in writes.values())
        return Batched(family, family.windows(), reads, writes, fills, narrowed, elements(family))


def prepared(program: Program) -> Prepared:
    """What is known of a program's steps; it grows as they run."""
    known = program.derived.get(_KEY)
    if not isinstance(known, Prepared) or known.program is not program:
        known = program.derived[_KEY] = Prepared(program)
    return known
