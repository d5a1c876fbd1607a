"""Copies of the fast mode: each move worked out once, as two strided views."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ipuc.codelets.rounding import fitted
from ipuc.emulator.machine import Array
from ipuc.program.family import Access
from ipuc.program.program import Program
from ipuc.program.steps import Copy
from ipuc.types import Shape

#: Gives the contents of a variable, flat.
Contents = Callable[[int], Array]


@dataclass(frozen=True, slots=True)
class Place:
    """A window of a variable: first byte, and bytes between elements along each axis."""

    variable: int
    dtype: str
    begin: int
    shape: Shape
    strides: tuple[int, ...]

    def view(self, contents: Contents) -> Array:
        """The window, without a copy."""
        flat = contents(self.variable)
        return np.ndarray(self.shape, flat.dtype, flat, self.begin, self.strides)


class Moves:
    """The moves of one copy step.

    Args:
        program: where its variables are declared.
        copy: the step.
        saturate: what is too large for a half becomes the largest one.
    """

    def __init__(self, program: Program, copy: Copy, *, saturate: bool) -> None:
        self._moves = [
            (
                into := _place(program, move.destination),
                None if move.source is None else _place(program, move.source),
                fitted(np.asarray(move.value), into.dtype, saturate=saturate),
            )
            for move in copy.moves
        ]
        written = {into.variable for into, _, _ in self._moves}
        # What is read is not written: then nothing need be set aside.
        self._apart = not any(place and place.variable in written for _, place, _ in self._moves)

    def run(self, read: Contents, write: Contents) -> None:
        """Carry them out: everything is read before anything is written."""
        aside = [
            None if place is None else place.view(read) if self._apart else place.view(read).copy()
            for _, place, _ in self._moves
        ]
        for (into, _, value), values in zip(self._moves, aside, strict=True):
            into.view(write)[...] = value if values is None else values


def _place(program: Program, access: Access) -> Place:
    """The window of an access on a grid of one point."""
    variable = program.variables[access.variable]
    size = variable.itemsize
    begin, _ = access.offset.bounds()
    strides = tuple(s * size for s in access.strides)
    return Place(access.variable, variable.dtype, begin * size, access.shape, strides)
