"""Which variables hold a value that is still needed, program step by program step.

A write starts a life and the last read ends it. A write of the whole variable ends the life of
the old value too; a partial write keeps it. What nobody has written yet is not alive. Loops and
branches are followed until nothing changes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ipuc.program.family import Access, separable
from ipuc.program.messages import Span
from ipuc.program.program import Program
from ipuc.program.steps import (
    Call,
    ComputeSet,
    Copy,
    Execute,
    If,
    Repeat,
    Sequence,
    Step,
    StreamIn,
    StreamOut,
    Sweep,
    belongs,
)
from ipuc.program.tensor import View

Flags = NDArray[np.bool_]


@dataclass(slots=True)
class ProgramStep:
    """One step of the flattened program: functions stand at every call, loop bodies once.

    Attributes:
        step: what runs; an If stands for the reading of its condition.
        name: of the compute set, copy or stream.
        layer: the layer it belongs to, if any.
        reads: ids of variables of which it needs elements.
        writes: ids of variables of which it changes elements.
        fills: ids of variables of which it writes every element without reading one.
        after: numbers of the steps that may run just before it.
    """

    step: Step
    name: str
    layer: str
    reads: set[int]
    writes: set[int]
    fills: set[int]
    after: set[int] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Liveness:
    """What is alive when.

    Attributes:
        steps: in program order.
        live: whether a variable holds a needed value while a step runs: bool[steps, variables].
        always: whether a variable lives through the whole program: bool[variables]; those with
            initial contents do, as the next run needs them again.
    """

    steps: list[ProgramStep]
    live: Flags
    always: Flags


def liveness(program: Program) -> Liveness:
    """Find the lives of all variables."""
    steps: list[ProgramStep] = []
    _lay_out(program, program.main, {-1}, steps, None)
    shape = (len(steps), len(program.variables))
    reads, writes, fills = (np.zeros(shape, bool) for _ in range(3))
    for row, step in enumerate(steps):
        reads[row, list(step.reads)] = True
        writes[row, list(step.writes)] = True
        fills[row, list(step.fills)] = True
    initial = np.zeros(len(program.variables), bool)
    initial[list(program.constants)] = True
    wanted_before, wanted_after = _wanted(steps, reads, fills)
    known_before = _known(steps, writes, initial)
    live = (wanted_before & known_before) | (wanted_after & (known_before | writes))
    live |= reads | writes
    live[:, initial] = True
    always = initial | (live.mean(axis=0) == 1) if steps else initial
    return Liveness(steps, live, always)


def _wanted(steps: list[ProgramStep], reads: Flags, fills: Flags) -> tuple[Flags, Flags]:
    """Whether a later step needs the value, before and after every step: backwards."""
    before, after = np.zeros_like(reads), np.zeros_like(reads)
    changed = True
    while changed:
        changed = False
        for row in range(len(steps) - 1, -1, -1):
            made = reads[row] | (after[row] & ~fills[row])
            changed |= bool((made != before[row]).any())
            before[row] = made
            for earlier in steps[row].after:
                if earlier >= 0:
                    changed |= bool((made & ~after[earlier]).any())
                    after[earlier] |= made
    return before, after


def _known(steps: list[ProgramStep], writes: Flags, initial: Flags) -> Flags:
    """Whether an element may have been written before every step: forwards."""
    before = np.zeros_like(writes)
    changed = True
    while changed:
        changed = False
        for row, step in enumerate(steps):
            made = before[row].copy()
            for earlier in step.after:
                made |= initial if earlier < 0 else before[earlier] | writes[earlier]
            changed |= bool((made != before[row]).any())
            before[row] = made
    return before


def _lay_out(
    program: Program, step: Step, after: set[int], steps: list[ProgramStep], call: Call | None
) -> set[int]:
    """Append the steps of a tree; gives the numbers of those that may run last."""
    match step:
        case Sequence():
            for child in step.steps:
                after = _lay_out(program, child, after, steps, call)
            return after
        case Call():
            body = program.functions[step.function]
            return _lay_out(program, body, after, steps, belongs(step, call))
        case Repeat():
            first = len(steps)
            last = _lay_out(program, step.body, after, steps, call)
            if len(steps) > first and step.count > 1:
                steps[first].after |= last
            return last if step.count else after | last
        case If():
            row = _append(steps, ProgramStep(step, "if", "", {step.condition}, set(), set()), after)
            then = _lay_out(program, step.then, row, steps, call)
            return then | _lay_out(program, step.otherwise, row, steps, call)
        case Execute():
            made = _of_set(program, step, step.compute_set, sweep=False)
        case Sweep():
            made = _of_set(program, step, step.compute_set, sweep=True)
        case Copy():
            made = _of_copy(program, step)
        case StreamIn():
            whole = {step.variable}
            made = ProgramStep(step, step.name, "", set(), whole, whole)
        case StreamOut():
            sources = [piece.source for piece in step.tensor.pieces]
            reads = {source.variable for source in sources if isinstance(source, View)}
            made = ProgramStep(step, step.name, "", reads, set(), set())
    if call is not None:
        made.layer = call.layer
    return _append(steps, made, after)


def _append(steps: list[ProgramStep], made: ProgramStep, after: Iterable[int]) -> set[int]:
    made.after |= set(after)
    steps.append(made)
    return {len(steps) - 1}


def _of_set(program: Program, step: Step, compute_set: ComputeSet, *, sweep: bool) -> ProgramStep:
    """What a compute set touches; the positions of a sweep together are one step."""
    reads: set[int] = set()
    written: dict[int, list[tuple[Any, Access]]] = {}
    for family in compute_set.families:
        for spec in family.codelet.fields:
            access = family.fields[spec.name]
            if spec.reads:
                reads.add(access.variable)
            if spec.writes:
                written.setdefault(access.variable, []).append((family, access))
    fills: set[int] = set()
    for id_, found in written.items():
        size = program.variables[id_].size
        if sweep:
            # Positions may write the same elements again: count the union.
            span = Span(size + 1, 1)
            for family, access in found:
                nowhere = separable(0, *([0] * n for n in family.grid))
                span.add(replace(family, tile=nowhere), access, sweep=False)
            begins, ends = span.intervals()
            covered = int((ends - begins).sum())
        else:
            covered = sum(family.count * int(access.runs()[:, 1].sum()) for family, access in found)
        if covered == size and id_ not in reads:
            fills.add(id_)
    layer = compute_set.families[0].layer if compute_set.families else ""
    return ProgramStep(step, compute_set.name, layer, reads, set(written), fills)


def _of_copy(program: Program, copy: Copy) -> ProgramStep:
    reads = {move.source.variable for move in copy.moves if move.source is not None}
    written: dict[int, int] = {}
    for move in copy.moves:
        id_ = move.destination.variable
        written[id_] = written.get(id_, 0) + int(move.destination.runs()[:, 1].sum())
    fills = {
        id_
        for id_, covered in written.items()
        if covered == program.variables[id_].size and id_ not in reads
    }
    return ProgramStep(copy, copy.name, copy.layer, reads, set(written), fills)
