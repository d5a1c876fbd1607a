"""Copies of the fast mode: each worked out once, as a few strided views."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import groupby, pairwise

import numpy as np

from ipuc.codelets.rounding import fitted
from ipuc.emulator.machine import Array
from ipuc.emulator.memory import Memory
from ipuc.program.program import Program
from ipuc.program.steps import Copy, Move
from ipuc.types import Shape


@dataclass(frozen=True, slots=True)
class Piece:
    """A box of elements that moves from one variable to another, or a box that is filled.

    Attributes:
        into: variable that is written.
        out_of: variable that is read; None to fill.
        value: what a box is filled with.
        begin: first element in `into`.
        source: first element in `out_of`.
        axes: extent, stride in `into` and stride in `out_of`, axis by axis.
    """

    into: int
    out_of: int | None
    value: float
    begin: int
    source: int
    axes: tuple[tuple[int, int, int], ...]

    def written(self, flat: Array) -> Array:
        """The elements that are written, as a view."""
        return self._view(flat, self.begin, [step for _, step, _ in self.axes])

    def read(self, flat: Array) -> Array:
        """The elements that are read, as a view."""
        return self._view(flat, self.source, [step for _, _, step in self.axes])

    def _view(self, flat: Array, begin: int, steps: list[int]) -> Array:
        size = flat.itemsize
        shape = tuple(n for n, _, _ in self.axes)
        return np.ndarray(shape, flat.dtype, flat, begin * size, tuple(s * size for s in steps))

    @property
    def size(self) -> int:
        """Elements that are written."""
        return int(np.prod([n for n, _, _ in self.axes], dtype=np.int64))


class Moves:
    """The moves of one copy step.

    Args:
        program: where its variables are declared.
        copy: the step.
        saturate: what is too large for a half becomes the largest one.
    """

    def __init__(self, program: Program, copy: Copy, *, saturate: bool) -> None:
        pieces = [_piece(move) for move in copy.moves]
        written: dict[int, int] = {}
        for piece in pieces:
            written[piece.into] = written.get(piece.into, 0) + piece.size
        read = {piece.out_of for piece in pieces}
        # No element is written twice in a copy that keeps the rules, so counting is enough.
        self._whole = [
            id_
            for id_, size in written.items()
            if size == program.variables[id_].size and id_ not in read
        ]
        # What is read is not written: then nothing need be set aside.
        self._apart = read.isdisjoint(written)
        self._pieces = _flooded(joined(pieces), set(self._whole), program)
        self._values = [
            fitted(np.asarray(piece.value), program.variables[piece.into].dtype, saturate=saturate)
            for piece in self._pieces
        ]
        self._same = len(self._pieces) == 1 and _is_whole(self._pieces[0], program)

    def run(self, memory: Memory) -> None:
        """Carry them out: everything is read before anything is written."""
        if self._same and memory.share(self._pieces[0].into, self._pieces[0].out_of):
            return
        for variable in self._whole:
            memory.fill(variable)
        aside = [
            None if piece.out_of is None else self._taken(piece, memory.read(piece.out_of))
            for piece in self._pieces
        ]
        for piece, value, values in zip(self._pieces, self._values, aside, strict=True):
            piece.written(memory.write(piece.into))[...] = value if values is None else values

    def _taken(self, piece: Piece, flat: Array) -> Array:
        view = piece.read(flat)
        return view if self._apart else view.copy()


def _piece(move: Move) -> Piece:
    into, source = move.destination, move.source
    steps = (0,) * len(into.shape) if source is None else source.strides
    return Piece(
        into.variable,
        None if source is None else source.variable,
        move.value,
        into.offset.bounds()[0],
        0 if source is None else source.offset.bounds()[0],
        tuple(axis for axis in zip(into.shape, into.strides, steps, strict=True) if axis[0] != 1),
    )


def _is_whole(piece: Piece, program: Program) -> bool:
    """Whether a variable becomes just what another one is."""
    if piece.out_of is None:
        return False
    into, source = program.variables[piece.into], program.variables[piece.out_of]
    return (
        piece.size == into.size == source.size
        and into.dtype == source.dtype
        and piece.axes in {(), ((into.size, 1, 1),)}
    )


def _flooded(pieces: list[Piece], whole: set[int], program: Program) -> list[Piece]:
    """Fill a variable that is written whole at once instead of in several boxes, then move."""
    fills: dict[int, list[Piece]] = {}
    for piece in pieces:
        if piece.out_of is None and piece.into in whole:
            fills.setdefault(piece.into, []).append(piece)
    floods = {
        into: replace(mine[0], begin=0, axes=((program.variables[into].size, 1, 0),))
        for into, mine in fills.items()
        if len(mine) > 1 and len({_bits(piece.value) for piece in mine}) == 1
    }
    kept = (piece for piece in pieces if piece.out_of is not None or piece.into not in floods)
    return [*floods.values(), *kept]


def _bits(value: float) -> bytes:
    return np.float64(value).tobytes()


def joined(pieces: list[Piece]) -> list[Piece]:
    """Join boxes that lie side by side, and those that lie equally far apart: the same elements."""
    made: list[Piece] = []

    def key(piece: Piece) -> tuple[int, int, bytes]:
        return piece.into, -1 if piece.out_of is None else piece.out_of, _bits(piece.value)

    for _, mine in groupby(sorted(pieces, key=key), key):
        found = _side_by_side(list(mine))
        for _ in range(2):
            found = _in_rows(found)
        made += [replace(piece, axes=_merged(piece.axes)) for piece in found]
    return made


#: Boxes with more axes than this between them are left as they are.
_MOST_AXES = 8


def _side_by_side(pieces: list[Piece]) -> list[Piece]:
    """Join boxes that touch along one of their axes and are alike along the others."""
    steps = sorted({(into, out_of) for piece in pieces for _, into, out_of in piece.axes})[::-1]
    if len(pieces) == 1 or len(steps) > _MOST_AXES:
        return pieces
    if any(len({axis[1:] for axis in piece.axes}) < len(piece.axes) for piece in pieces):
        return pieces
    boxes: list[tuple[int, int, Shape]] = []
    for piece in pieces:
        extents = {(into, out_of): n for n, into, out_of in piece.axes}
        boxes.append((piece.begin, piece.source, tuple(extents.get(step, 1) for step in steps)))
    for axis, (into, out_of) in enumerate(steps):
        lines: dict[tuple[Shape, int, int], list[tuple[int, int, int]]] = {}
        for begin, source, shape in boxes:
            others = shape[:axis] + shape[axis + 1 :]
            # The same for all boxes on one line along the axis.
            line = (others, begin * out_of - source * into, begin % into)
            lines.setdefault(line, []).append((begin // into, source, shape[axis]))
        boxes = []
        for (others, _, rest), mine in lines.items():
            mine.sort()
            first = 0
            for last, (place, _, extent) in enumerate(mine):
                if last + 1 < len(mine) and mine[last + 1][0] == place + extent:
                    continue
                opening, source, _ = mine[first]
                shape = (*others[:axis], place + extent - opening, *others[axis:])
                boxes.append((opening * into + rest, source, shape))
                first = last + 1
    return [
        replace(
            pieces[0],
            begin=begin,
            source=source,
            axes=tuple((n, *step) for n, step in zip(shape, steps, strict=True) if n != 1),
        )
        for begin, source, shape in boxes
    ]


def _in_rows(pieces: list[Piece]) -> list[Piece]:
    """Make one box of boxes that are alike and lie equally far apart."""
    alike: dict[tuple[tuple[int, int, int], ...], list[Piece]] = {}
    for piece in pieces:
        alike.setdefault(piece.axes, []).append(piece)
    made: list[Piece] = []
    for axes, mine in alike.items():
        mine.sort(key=lambda piece: piece.begin)
        apart = [(b.begin - a.begin, b.source - a.source) for a, b in pairwise(mine)]
        first = 0
        while first < len(mine):
            last = first
            while last < len(apart) and apart[last] == apart[first]:
                last += 1
            count = last - first + 1
            row = (count, *apart[first]) if count > 1 else None
            made.append(replace(mine[first], axes=(row, *axes) if row else axes))
            first += count
    return made


def _merged(axes: tuple[tuple[int, int, int], ...]) -> tuple[tuple[int, int, int], ...]:
    """Make one axis of two that follow each other in both variables, the longest steps first."""
    made: list[tuple[int, int, int]] = []
    for n, into, out_of in sorted(axes, key=lambda axis: -abs(axis[1])):
        if made and made[-1][1:] == (n * into, n * out_of):
            made[-1] = (made[-1][0] * n, into, out_of)
        else:
            made.append((n, into, out_of))
    return tuple(made)
