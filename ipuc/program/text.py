"""A program as text, to be read and compared: one line for each variable, step, family and field.

Notation. `v3` is the variable with id 3. `2 + [0..6/2, 0]` is an index map: a base and a table for
each grid axis, here 0, 2, 4, 6 and a constant 0; `0..9~1a2b3c4d` is an irregular table, by its
least and greatest number and a checksum. `[4/2 3/1]` is a window of 4 by 3 elements with strides
2 and 1. Lines of one program are the same wherever they are made.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator

import numpy as np

from ipuc.program.family import Access, IndexMap, VertexFamily
from ipuc.program.program import Program
from ipuc.program.steps import (
    Call,
    ComputeSet,
    Copy,
    Execute,
    If,
    Move,
    Repeat,
    Sequence,
    Step,
    StreamIn,
    StreamOut,
    Sweep,
)
from ipuc.program.tensor import Piece, Tensor, View
from ipuc.program.variables import Variable
from ipuc.types import Ints

#: Moves of a copy, and pieces of a tensor, that are listed before the rest is only counted.
_LISTED = 8


def to_text(program: Program) -> str:
    """Write a program for people, and for tests that notice when it changes."""
    return "\n".join(_Writer(program).lines()) + "\n"


class _Writer:
    """Lines of one program; a compute set that several steps run is written out once."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self._written: set[int] = set()

    def lines(self) -> Iterator[str]:
        program = self.program
        vertices = sum(family.count for family in program.families())
        target = program.target
        several = f"{target.ipus} x " if target.ipus > 1 else ""
        yield (
            f"program for {several}{target.name}, {_count(target.all_tiles, 'tile')}: "
            f"{_count(len(program.variables), 'variable')}, "
            f"{_count(len(program.compute_sets()), 'compute set')}, "
            f"{_count(vertices, 'vertex', 'vertices')}"
        )
        for title, types in (("input", program.inputs), ("output", program.outputs)):
            for name, kind in types.items():
                yield f"{title} {quoted(name)} {kind}"
        yield "variables"
        for variable in program.variables:
            yield f"  {self._variable(variable)}"
        yield "main"
        yield from self._children(program.main)
        for name, body in program.functions.items():
            yield f"function {quoted(name)}"
            yield from self._children(body)

    def _variable(self, variable: Variable) -> str:
        kind = f"{variable.dtype}[{'x'.join(map(str, variable.shape))}]"
        constant = " constant" if variable.id in self.program.constants else ""
        return f"v{variable.id} {quoted(variable.name)} {kind}{constant} {_mapping(variable)}"

    def _children(self, step: Step) -> Iterator[str]:
        steps = step.steps if isinstance(step, Sequence) else (step,)
        for child in steps:
            for line in self._step(child):
                yield f"  {line}"

    def _step(self, step: Step) -> Iterator[str]:
        match step:
            case Execute():
                yield from self._compute_set("execute", step.compute_set)
            case Sweep():
                yield from self._compute_set(f"sweep {step.count} times", step.compute_set)
            case Copy():
                layer = f" of layer {quoted(step.layer)}" if step.layer else ""
                yield f"copy {quoted(step.name)}{layer}"
                for line in _some([_move(move) for move in step.moves], "move"):
                    yield f"  {line}"
            case StreamIn():
                yield f"read {quoted(step.name)} into v{step.variable}"
            case StreamOut():
                yield f"write {quoted(step.name)} from {tensor_text(step.tensor)}"
            case Sequence():
                yield "sequence"
                yield from self._children(step)
            case Repeat():
                yield f"repeat {step.count} times"
                yield from self._children(step.body)
            case If():
                yield f"if v{step.condition}"
                yield from self._children(step.then)
                yield "else"
                yield from self._children(step.otherwise)
            case Call():
                layer = f" for {quoted(step.layer)} {step.layer_pass}" if step.layer else ""
                yield f"call {quoted(step.function)}{layer}"

    def _compute_set(self, verb: str, compute_set: ComputeSet) -> Iterator[str]:
        head = f"{verb} {quoted(compute_set.name)}"
        if id(compute_set) in self._written:
            yield f"{head}, written above"
            return
        self._written.add(id(compute_set))
        yield head
        for family in compute_set.families:
            for line in _family(family):
                yield f"  {line}"


def _family(family: VertexFamily) -> Iterator[str]:
    parameters = ", ".join(f"{k}={_value(v)}" for k, v in family.codelet.parameters().items())
    origins = ", ".join(f"{quoted(o.layer)} {o.layer_pass}" for o in family.origins)
    grid = "x".join(map(str, family.grid)) or "1"
    one = ", one worker each" * (family.workers == "one")
    yield (
        f"{family.codelet.name}{{{parameters}}} grid {grid}{one}"
        + f" for {origins}" * bool(origins)
    )
    yield f"  tile {map_text(family.tile)}"
    for spec in family.codelet.fields:
        way = ("in" if spec.reads else "") + ("out" if spec.writes else "")
        yield f"  {way} {spec.name} {access_text(family.fields[spec.name])}"


def _value(value: object) -> str:
    return quoted(value) if isinstance(value, str) else str(value)


def quoted(name: str) -> str:
    """A name in quotes, on one line whatever it holds."""
    return json.dumps(name, ensure_ascii=False)


def table_text(table: Ints) -> str:
    """One index table (of at least one number) in a few characters."""
    low, high = int(table.min()), int(table.max())
    if low == high:
        return str(low)
    steps = np.diff(table.reshape(-1))
    if table.ndim == 1 and (steps == steps[0]).all():
        step = int(steps[0])
        ends = f"{int(table[0])}..{int(table[-1])}"
        return ends if step == 1 else f"{ends}/{step}"
    return f"{low}..{high}~{_checksum(table)}"


def map_text(index: IndexMap) -> str:
    """An index map: its base, and a table for each grid axis."""
    if 0 in index.grid:
        return "of no vertex"
    if index.explicit is not None:
        return f"{index.base} + one by one {table_text(index.explicit)}"
    tables = [table_text(table) for table in index.tables]
    if all(table == "0" for table in tables):
        return str(index.base)
    return f"{index.base} + [{', '.join(tables)}]"


def access_text(access: Access) -> str:
    """A field: variable, offsets, and window."""
    window = _factors(zip(access.shape, access.strides, strict=True))
    text = f"v{access.variable} at {map_text(access.offset)} window [{window}]"
    if access.entries is not None:
        text += f" in {len(access.entries)} entries ~{_checksum(access.entries)}"
    return text


def tensor_text(tensor: Tensor) -> str:
    """A tensor: its type and its pieces."""
    shape = "x".join(map(str, tensor.shape))
    pieces = _some([_piece(piece, tensor) for piece in tensor.pieces], "piece")
    return f"{tensor.dtype}[{shape}]: {'; '.join(pieces)}"


def _piece(piece: Piece, tensor: Tensor) -> str:
    source = piece.source
    whole = source.shape == tensor.shape
    at = "" if whole else f"[{' '.join(map(str, piece.begin))}] = "
    if isinstance(source, View):
        axes = ["*".join(f"{n}/{s}" for n, s in axis) or "1" for axis in source.axes]
        return f"{at}v{source.variable} at {source.offset} window [{' '.join(axes)}]"
    return f"{at}{source.value} over {'x'.join(map(str, source.shape))}"


def _move(move: Move) -> str:
    source = str(move.value) if move.source is None else access_text(move.source)
    return f"{access_text(move.destination)} = {source}"


def _some(lines: list[str], what: str) -> list[str]:
    more = len(lines) - _LISTED
    return [*lines[:_LISTED], f"and {_count(more, f'more {what}')}"] if more > 0 else lines


def _factors(factors: Iterator[tuple[int, int]]) -> str:
    return " ".join(f"{n}/{s}" for n, s in factors)


def _mapping(variable: Variable) -> str:
    mapping = variable.mapping
    if mapping is None:
        return "on no tile"
    tiles = np.unique(mapping.tiles)
    if not len(tiles):
        return "of no element"
    if len(tiles) == 1:
        return f"on tile {int(tiles[0])}"
    low, high = int(tiles[0]), int(tiles[-1])
    which = f"tiles {low}..{high}"
    if len(tiles) < high - low + 1:
        which = f"{len(tiles)} of {which}"
    pairs = np.stack([mapping.starts, mapping.tiles])
    return f"on {which}, {_count(len(mapping.starts), 'interval')} ~{_checksum(pairs)}"


def _checksum(numbers: Ints) -> str:
    """The same on any machine: of the numbers as little-endian 64-bit integers."""
    return f"{zlib.crc32(np.ascontiguousarray(numbers, '<i8').tobytes()):08x}"


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"
