"""When memory can be used again, and when what it held must be kept for those who ask later."""

from __future__ import annotations

import math
from collections.abc import Iterator

from ipuc.program.program import Program
from ipuc.program.steps import (
    Call,
    ComputeSet,
    Copy,
    Execute,
    If,
    Sequence,
    Step,
    StreamIn,
    StreamOut,
    Sweep,
    belongs,
    walk,
)
from ipuc.program.tensor import View


def last_uses(program: Program) -> list[list[int]]:
    """For each top-level step, the variables whose contents no later step needs.

    Either no later step touches them, or the next one that does first writes every element: what a
    function has of its own, and its arguments, are given up after every call.
    Constants stay: they are read in place, by the next run too.
    """
    last: dict[int, int] = {}
    found: list[list[int]] = [[] for _ in program.main.steps]
    for number, step in enumerate(program.main.steps):
        fresh = _filled_first(program, step)
        for variable in set(_used(program, step)):
            if variable in fresh and variable in last:
                found[last[variable]].append(variable)
            last[variable] = number
    for variable, number in last.items():
        found[number].append(variable)
    return [[one for one in sorted(mine) if one not in program.constants] for mine in found]


def _filled_first(program: Program, step: Step) -> set[int]:
    """Variables that a top-level step writes whole before it reads any of them."""
    found: set[int] = set()
    touched: set[int] = set()
    for child in _in_order(program, step):
        if isinstance(child, Execute):
            found |= wholly_written(program, child.compute_set) - touched
            reads = {
                family.fields[spec.name].variable
                for family in child.compute_set.families
                for spec in family.codelet.fields
                if spec.reads
            }
            found -= reads - touched
        elif isinstance(child, Copy):
            found |= _wholly_copied(program, child) - touched
        touched.update(_used(program, child))
    return found


def _in_order(program: Program, step: Step) -> Iterator[Step]:
    """The steps of a tree in order, functions opened, loops and branches left as they are."""
    match step:
        case Sequence():
            for child in step.steps:
                yield from _in_order(program, child)
        case Call():
            yield from _in_order(program, program.functions[step.function])
        case _:
            yield step


def _wholly_copied(program: Program, copy: Copy) -> set[int]:
    """Variables of which a copy writes every element, and reads none."""
    written: dict[int, int] = {}
    for move in copy.moves:
        into = move.destination.variable
        written[into] = written.get(into, 0) + math.prod(move.destination.shape)
    read = {move.source.variable for move in copy.moves if move.source is not None}
    whole = {id_ for id_, size in written.items() if size == program.variables[id_].size}
    return whole - read


def _used(program: Program, step: Step) -> Iterator[int]:
    for child in walk(step):
        match child:
            case Execute() | Sweep():
                for family in child.compute_set.families:
                    yield from (access.variable for access in family.fields.values())
            case Copy():
                for move in child.moves:
                    yield move.destination.variable
                    if move.source is not None:
                        yield move.source.variable
            case StreamIn():
                yield child.variable
            case StreamOut():
                sources = (piece.source for piece in child.tensor.pieces)
                yield from (source.variable for source in sources if isinstance(source, View))
            case If():
                yield child.condition
            case Call():
                yield from _used(program, program.functions[child.function])


def overwritten(program: Program) -> dict[int, list[str]]:
    """Values that are gone at the end of a run, by the number of the top-level step that takes one.

    A vertex in place leaves the result of its layer where that of an earlier layer lay. A value
    that no layer makes counts as made before all of them.
    """
    number = {layer.name: at for at, layer in enumerate(program.layers)}
    made = {value: at for at, layer in enumerate(program.layers) for value in layer.outputs}
    lying: dict[int, list[str]] = {}
    for value, tensor in program.values.items():
        sources = (piece.source for piece in tensor.pieces)
        for variable in {s.variable for s in sources if isinstance(s, View)}:
            lying.setdefault(variable, []).append(value)
    found: dict[int, list[str]] = {}
    gone: set[str] = set()
    for at, step in enumerate(program.main.steps):
        for variable, layer in _written(program, step, None):
            later = number.get(layer, -1)
            for value in lying.get(variable, ()):
                if made.get(value, -1) < later and value not in gone:
                    gone.add(value)
                    found.setdefault(at, []).append(value)
    return found


def _written(program: Program, step: Step, call: Call | None) -> Iterator[tuple[int, str]]:
    """Every variable that vertices and copies change, with the layer they belong to."""
    for child in walk(step):
        match child:
            case Execute() | Sweep():
                for family in child.compute_set.families:
                    for spec in family.codelet.fields:
                        if spec.writes:
                            layer = call.layer if call else family.layer
                            yield family.fields[spec.name].variable, layer
            case Copy():
                for move in child.moves:
                    yield move.destination.variable, call.layer if call else child.layer
            case Call():
                body = program.functions[child.function]
                yield from _written(program, body, belongs(child, call))


def wholly_written(program: Program, compute_set: ComputeSet) -> set[int]:
    """Variables of which a compute set writes every element.

    No element is written twice in a compute set that keeps the rules, so counting is enough.
    """
    written: dict[int, int] = {}
    for family in compute_set.families:
        for spec in family.codelet.fields:
            if spec.writes and not spec.reads:
                access = family.fields[spec.name]
                size = family.count * math.prod(access.shape)
                written[access.variable] = written.get(access.variable, 0) + size
    return {id_ for id_, size in written.items() if size == program.variables[id_].size}
