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
    Step,
    StreamIn,
    StreamOut,
    Sweep,
    walk,
)
from ipuc.program.tensor import View


def last_uses(program: Program) -> list[list[int]]:
    """For each top-level step, the variables that no later step reads or writes.

    Constants stay: they are read in place, by the next run too.
    """
    last: dict[int, int] = {}
    for number, step in enumerate(program.main.steps):
        for variable in _used(program, step):
            last[variable] = number
    found: list[list[int]] = [[] for _ in program.main.steps]
    for variable, number in last.items():
        if variable not in program.constants:
            found[number].append(variable)
    return found


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
        for variable, layer in _written(program, step):
            later = number.get(layer, -1)
            for value in lying.get(variable, ()):
                if made.get(value, -1) < later and value not in gone:
                    gone.add(value)
                    found.setdefault(at, []).append(value)
    return found


def _written(program: Program, step: Step) -> Iterator[tuple[int, str]]:
    """Every variable that vertices and copies change, with the layer they belong to."""
    for child in walk(step):
        match child:
            case Execute() | Sweep():
                for family in child.compute_set.families:
                    for spec in family.codelet.fields:
                        if spec.writes:
                            yield family.fields[spec.name].variable, family.layer
            case Copy():
                for move in child.moves:
                    yield move.destination.variable, child.layer
            case Call():
                yield from _written(program, program.functions[child.function])


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
