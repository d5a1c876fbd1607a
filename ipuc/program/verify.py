"""Poplar's rules, checked on whole families at once.

Every element is mapped once; every window lies inside its variable; in one compute set no element
is written twice, and none is written by one vertex and read by another.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ipuc.errors import ProgramError
from ipuc.program.family import Access, VertexFamily
from ipuc.program.operand import gather, scatter
from ipuc.program.program import Program
from ipuc.program.steps import Call, ComputeSet, Copy, Execute, Sweep
from ipuc.program.variables import Variable

Ids = NDArray[np.int32]


def verify(program: Program) -> None:
    """Hold a program to the rules.

    Raises:
        ProgramError: the first rule broken, with variable, element, compute set, tile and vertex.
    """
    for variable in program.variables:
        _check_mapping(variable, program.target.tiles)
    checked: set[int] = set()
    for step in program.bodies():
        if isinstance(step, Execute | Sweep) and id(step.compute_set) not in checked:
            checked.add(id(step.compute_set))
            for family in step.compute_set.families:
                _check_family(program, step.compute_set, family)
            sets = (
                [step.at(index) for index in range(step.count)]
                if isinstance(step, Sweep)
                else [step.compute_set]
            )
            for compute_set in sets:
                _check_races(program, compute_set)
        elif isinstance(step, Copy):
            for move in step.moves:
                for access in (move.destination, move.source):
                    if access is not None:
                        _check_window(program, access, f'copy "{step.name}"')
        elif isinstance(step, Call) and step.function not in program.functions:
            raise ProgramError(f'no function is called "{step.function}"')


def _check_mapping(variable: Variable, tiles: int) -> None:
    mapping = variable.mapped()
    where = f'variable "{variable.name}"'
    starts = mapping.starts
    if variable.size and (len(starts) == 0 or starts[0] != 0):
        raise ProgramError(
            "element 0 is on no tile", where=where, fix="let the first interval begin at 0"
        )
    if (np.diff(starts) <= 0).any() or (len(starts) and starts[-1] >= max(variable.size, 1)):
        raise ProgramError(
            f"its mapping is not a list of ascending intervals below {variable.size}",
            where=where,
            fix="sort the intervals and drop empty ones",
        )
    if len(mapping.tiles) and not (mapping.tiles.min() >= 0 and mapping.tiles.max() < tiles):
        raise ProgramError(
            f"it is mapped to tile {int(mapping.tiles.max())} of {tiles}",
            where=where,
            fix="use tiles from 0 to the target's number of tiles - 1",
        )


def _check_window(program: Program, access: Access, where: str) -> None:
    if not 0 <= access.variable < len(program.variables):
        raise ProgramError(f"there is no variable {access.variable}", where=where)
    variable = program.variables[access.variable]
    low, high = access.offset.bounds()
    first, last = access.extent()
    if low + first < 0 or high + last >= variable.size:
        raise ProgramError(
            f'a window covers elements {low + first} to {high + last} of "{variable.name}", '
            f"which has {variable.size}",
            where=where,
            fix="keep every window inside its variable",
        )
    if access.entries is not None:
        lattice = np.zeros(last - first + 1, np.int8)
        single = Access(0, access.offset, access.shape, access.strides)
        for begin, length in single.runs() - [first, 0]:
            lattice[begin : begin + length] |= 1
        for begin, length in access.entries - [first, 0]:
            lattice[begin : begin + length] |= 2
        if (access.entries[:, 0] < first).any() or not np.isin(lattice, (0, 3)).all():
            raise ProgramError("list entries do not cover the window", where=where)


def _check_family(program: Program, compute_set: ComputeSet, family: VertexFamily) -> None:
    where = f'compute set "{compute_set.name}", codelet {family.codelet.name}'
    low, high = family.tile.bounds()
    if low < 0 or high >= program.target.tiles:
        raise ProgramError(
            f"a vertex is on tile {high if high >= program.target.tiles else low} "
            f"of {program.target.tiles}",
            where=where,
            fix="map every vertex to a tile of the target",
        )
    for name, access in family.fields.items():
        _check_window(program, access, f"{where}, field {name}")


def _check_races(program: Program, compute_set: ComputeSet) -> None:
    """Write every vertex's number into what it writes, then look at what is found there."""
    touching: dict[int, list[tuple[int, VertexFamily, str]]] = {}
    written: set[int] = set()
    first = 1
    for family in compute_set.families:
        for spec in family.codelet.fields:
            access = family.fields[spec.name]
            touching.setdefault(access.variable, []).append((first, family, spec.name))
            if spec.writes:
                written.add(access.variable)
        first += family.count
    for id_ in sorted(written):
        writer = np.zeros(program.variables[id_].size, np.int32)
        for number, family, name in touching[id_]:
            if family.codelet.spec(name).writes:
                _write(program, compute_set, writer, number, family, name)
        for number, family, name in touching[id_]:
            ids = _numbers(number, family, family.fields[name])
            found = gather(family.fields[name], writer)
            spec = family.codelet.spec(name)
            wrong = found != ids if spec.writes else (found != ids) & (found != 0)
            if wrong.any():
                rule = (
                    "is written by two vertices"
                    if spec.writes
                    else "is written by one vertex and read by another"
                )
                raise _race(program, compute_set, family, name, wrong, rule)


def _numbers(first: int, family: VertexFamily, access: Access) -> Ids:
    numbers = np.arange(first, first + family.count, dtype=np.int32)
    if access.offset.explicit is not None:
        return numbers.reshape(-1, *(1 for _ in access.shape))
    return numbers.reshape(*family.grid, *(1 for _ in access.shape))


def _write(
    program: Program,
    compute_set: ComputeSet,
    writer: Ids,
    first: int,
    family: VertexFamily,
    name: str,
) -> None:
    access = family.fields[name]
    if any(s == 0 and n > 1 for s, n in zip(access.strides, access.shape, strict=True)):
        wrong = np.ones((*family.grid, *access.shape), bool)
        raise _race(program, compute_set, family, name, wrong, "is written twice by one vertex")
    numbers = _numbers(first, family, access)
    taken = gather(access, writer)
    clash = (taken != 0) & (taken != numbers)
    if clash.any():
        raise _race(program, compute_set, family, name, clash, "is written by two vertices")
    scatter(access, writer, numbers.reshape(*family.grid, *(1 for _ in access.shape)))


def _race(
    program: Program,
    compute_set: ComputeSet,
    family: VertexFamily,
    name: str,
    wrong: NDArray[np.bool_],
    rule: str,
) -> ProgramError:
    access = family.fields[name]
    wrong = np.broadcast_to(wrong, wrong.shape).reshape(family.count, -1)
    vertex, place = (int(i) for i in np.unravel_index(int(np.argmax(wrong)), wrong.shape))
    index = np.unravel_index(place, access.shape) if access.shape else ()
    offset = int(access.offset.at(np.array([vertex]))[0])
    element = offset + sum(int(i) * s for i, s in zip(index, access.strides, strict=True))
    tile = int(family.tile.at(np.array([vertex]))[0])
    return ProgramError(
        f'element {element} of variable "{program.variables[access.variable].name}" {rule}',
        where=f'compute set "{compute_set.name}", codelet {family.codelet.name}, '
        f"field {name}, vertex {vertex}, tile {tile}",
        fix="put the vertices into successive compute sets, or give each its own elements",
    )
