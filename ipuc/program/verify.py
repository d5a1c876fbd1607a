"""Poplar's rules, checked on whole families at once.

Every element is mapped once; every window lies inside its variable; in one compute set no element
is written twice, and none is written by one vertex and read by another; a copy writes no element
twice; constants and streams fit their variables; functions exist and do not call themselves.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ipuc.errors import ProgramError
from ipuc.program.family import Access, IndexMap, VertexFamily
from ipuc.program.operand import gather, scatter
from ipuc.program.program import Program
from ipuc.program.steps import (
    Call,
    ComputeSet,
    Copy,
    Execute,
    If,
    Repeat,
    StreamIn,
    StreamOut,
    Sweep,
    walk,
)
from ipuc.program.tensor import View
from ipuc.program.variables import Variable
from ipuc.types import DEVICE_DTYPES

Ids = NDArray[np.int32]


def verify(program: Program) -> None:
    """Hold a program to the rules.

    Raises:
        ProgramError: the first rule broken, with variable, element, compute set, tile and vertex.
    """
    check_structure(program)
    checked: set[int] = set()
    for step in program.bodies():
        if isinstance(step, Execute | Sweep) and id(step.compute_set) not in checked:
            checked.add(id(step.compute_set))
            sets = (
                [step.at(index) for index in range(step.count)]
                if isinstance(step, Sweep)
                else [step.compute_set]
            )
            for compute_set in sets:
                _check_races(program, compute_set)
        elif isinstance(step, Copy):
            _check_copy(program, step)


def check_structure(program: Program) -> None:
    """Hold a program to the rules that can be told without visiting every vertex.

    Raises:
        ProgramError: a mapping, window, tile, constant, stream, copy or call is out of range.
    """
    for variable in program.variables:
        _check_mapping(variable, program.target.all_tiles)
    for id_, values in program.constants.items():
        _check_constant(program, id_, values)
    _check_calls(program)
    for compute_set in program.compute_sets():
        for family in compute_set.families:
            _check_family(program, compute_set, family)
    for step in program.bodies():
        if isinstance(step, Copy):
            _check_moves(program, step)
        elif isinstance(step, Repeat) and step.count < 0:
            raise ProgramError(f"a body is repeated {step.count} times", fix="give 0 or more")
        elif isinstance(step, StreamIn | StreamOut | If):
            _check_host(program, step)


def _check_mapping(variable: Variable, tiles: int) -> None:
    mapping = variable.mapped()
    where = f'variable "{variable.name}"'
    starts = mapping.starts
    if len(starts) != len(mapping.tiles):
        raise ProgramError(
            f"its mapping has {len(starts)} intervals and {len(mapping.tiles)} tiles",
            where=where,
            fix="give one tile for each interval",
        )
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
    outside = mapping.tiles[(mapping.tiles < 0) | (mapping.tiles >= tiles)]
    if len(outside):
        raise ProgramError(
            f"it is mapped to tile {int(outside[0])} of {tiles}",
            where=where,
            fix="use tiles from 0 to the target's number of tiles - 1",
        )


def _check_constant(program: Program, id_: int, values: NDArray[Any]) -> None:
    variable = _variable(program, id_, "constants")
    if values.shape != (variable.size,) or values.dtype.name != variable.dtype:
        raise ProgramError(
            f"its contents are {values.dtype.name}{list(values.shape)}, "
            f"the variable is {variable.dtype}[{variable.size}]",
            where=f'variable "{variable.name}"',
        )


def _check_calls(program: Program) -> None:
    """Every function that is called exists, and none reaches itself."""
    called = {
        name: {step.function for step in walk(body) if isinstance(step, Call)}
        for name, body in [("", program.main), *program.functions.items()]
    }
    for name in sorted(set().union(*called.values())):
        if name not in program.functions:
            raise ProgramError(
                f'no function is called "{name}"', fix="define it with Builder.function first"
            )
    while called:
        leaves = [name for name, calls in called.items() if not calls & called.keys()]
        if not leaves:
            raise ProgramError(
                f"functions call themselves: {', '.join(sorted(filter(None, called)))}",
                fix="an IPU has no call stack for them; use a Repeat step",
            )
        for name in leaves:
            del called[name]


def _check_host(program: Program, step: StreamIn | StreamOut | If) -> None:
    if isinstance(step, If):
        if _variable(program, step.condition, "condition of an If step").size < 1:
            raise ProgramError("the condition of an If step has no element")
    elif isinstance(step, StreamIn):
        where = f'input "{step.name}"'
        variable = _variable(program, step.variable, where)
        kind = program.inputs.get(step.name)
        if kind is None or not kind.shape == step.shape or kind.size != variable.size:
            raise ProgramError(f"{kind} does not fill {variable.size} elements", where=where)
        kinds = {DEVICE_DTYPES.get(kind.dtype), variable.dtype}
        if len(kinds) > 1 and not kinds <= {"float16", "float32"}:  # those the stream converts
            raise ProgramError(
                f"{kind.dtype} elements are written onto {variable.dtype}", where=where
            )
    else:
        where = f'output "{step.name}"'
        kind = program.outputs.get(step.name)
        if kind is None or kind.shape != step.tensor.shape:
            raise ProgramError(f"{kind} is no type of a tensor {step.tensor.shape}", where=where)
        for piece in step.tensor.pieces:
            if isinstance(piece.source, View):
                factors = [factor for axis in piece.source.axes for factor in axis]
                shape, strides = tuple(n for n, _ in factors), tuple(s for _, s in factors)
                offset = IndexMap(piece.source.offset)
                _check_window(program, Access(piece.source.variable, offset, shape, strides), where)


def _check_moves(program: Program, step: Copy) -> None:
    where = f'copy "{step.name}"'
    for move in step.moves:
        for access in (move.destination, move.source):
            if access is not None:
                _check_window(program, access, where)
        if move.source is not None and move.source.shape != move.destination.shape:
            raise ProgramError(
                f"{move.source.shape} is copied onto {move.destination.shape}", where=where
            )
        if move.source is not None:
            kinds = [program.variables[a.variable].dtype for a in (move.source, move.destination)]
            if kinds[0] != kinds[1]:
                raise ProgramError(
                    f"{kinds[0]} elements are copied onto {kinds[1]}",
                    where=where,
                    fix="a copy moves bytes; convert with a Cast vertex",
                )


def _check_copy(program: Program, step: Copy) -> None:
    where = f'copy "{step.name}"'
    written: dict[int, Ids] = {}
    for number, move in enumerate(step.moves, 1):
        into = move.destination
        variable = program.variables[into.variable]
        marks = written.setdefault(into.variable, np.zeros(variable.size, np.int32))
        taken = (gather(into, marks) != 0) | _repeated(into)
        if taken.any():
            place = np.unravel_index(int(np.argmax(taken)), taken.shape) if taken.ndim else ()
            element = into.offset.base + sum(
                int(i) * s for i, s in zip(place, into.strides, strict=True)
            )
            raise ProgramError(
                f'element {element} of variable "{variable.name}" is written twice',
                where=where,
                fix="let the pieces of the destination not overlap",
            )
        scatter(into, marks, np.asarray(number))


def _variable(program: Program, id_: int, where: str) -> Variable:
    if not 0 <= id_ < len(program.variables):
        raise ProgramError(f"there is no variable {id_}", where=where)
    return program.variables[id_]


def _repeated(access: Access) -> NDArray[np.bool_]:
    """Where a window reaches an element that it reaches elsewhere too: bool[*window]."""
    dims = sorted((abs(s), n) for s, n in zip(access.strides, access.shape, strict=True) if n != 1)
    reach, apart = 0, True
    for stride, extent in dims:
        apart = apart and stride > reach
        reach += stride * (extent - 1)
    if apart or 0 in access.shape:
        return np.zeros(access.shape, bool)
    places = np.zeros(1, np.int64)
    for stride, extent in zip(access.strides, access.shape, strict=True):
        places = (places[:, None] + np.arange(extent) * stride).reshape(-1)
    _, which, count = np.unique(places, return_inverse=True, return_counts=True)
    return np.asarray(count[which] > 1).reshape(access.shape)


def _check_window(program: Program, access: Access, where: str) -> None:
    variable = _variable(program, access.variable, where)
    if 0 in access.shape:
        return
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
        outside = (access.entries[:, 0] < first) | (access.entries.sum(axis=1) > last + 1)
        if outside.any() or not np.isin(lattice, (0, 3)).all():
            raise ProgramError("list entries do not cover the window", where=where)


def _check_family(program: Program, compute_set: ComputeSet, family: VertexFamily) -> None:
    where = f'compute set "{compute_set.name}", codelet {family.codelet.name}'
    low, high = family.tile.bounds()
    if low < 0 or high >= program.target.all_tiles:
        raise ProgramError(
            f"a vertex is on tile {high if high >= program.target.all_tiles else low} "
            f"of {program.target.all_tiles}",
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
        for number, family, name in sorted(touching[id_], key=_reads_only):
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


def _reads_only(user: tuple[int, VertexFamily, str]) -> bool:
    """Sort key: two writers are the plainer fault, so they are told first."""
    _, family, name = user
    return not family.codelet.spec(name).writes


def _numbers(first: int, family: VertexFamily, access: Access) -> Ids:
    numbers = np.arange(first, first + family.count, dtype=np.int32)
    if access.offset.explicit is not None:
        return numbers.reshape(-1, *(1 for _ in access.shape))
    return numbers.reshape((*family.grid, *(1 for _ in access.shape)))


def _write(
    program: Program,
    compute_set: ComputeSet,
    writer: Ids,
    first: int,
    family: VertexFamily,
    name: str,
) -> None:
    access = family.fields[name]
    numbers = _numbers(first, family, access)
    taken = gather(access, writer)
    own = (taken == numbers) | _repeated(access)
    if own.any():
        raise _race(program, compute_set, family, name, own, "is written twice by one vertex")
    if taken.any():
        raise _race(program, compute_set, family, name, taken != 0, "is written by two vertices")
    scatter(access, writer, numbers.reshape((*family.grid, *(1 for _ in access.shape))))


def _race(
    program: Program,
    compute_set: ComputeSet,
    family: VertexFamily,
    name: str,
    wrong: NDArray[np.bool_],
    rule: str,
) -> ProgramError:
    access = family.fields[name]
    wrong = wrong.reshape(family.count, -1)
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
