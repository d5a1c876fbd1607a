"""Which vertex makes an element of a value."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ipuc.program.family import Access
from ipuc.program.program import Program
from ipuc.program.steps import ComputeSet, Copy, Execute, Move, Sweep
from ipuc.program.tensor import Fill, Tensor, axis_offsets
from ipuc.types import Ints


@dataclass(frozen=True, slots=True)
class Place:
    """Where an element is made.

    Attributes:
        compute_set: name of the compute set; None if no vertex makes the element: it is an
            input, a constant, or filled in by a copy.
        codelet: name of the vertex type; None likewise.
        tile: the vertex's tile, or the tile on which the element lives; None for a constant
            fill, which lives nowhere.
        vertex: number of the vertex in its compute set, family after family, row-major over
            each grid; None if no vertex makes the element.
    """

    compute_set: str | None
    codelet: str | None
    tile: int | None
    vertex: int | None


def locate(program: Program, tensor: Tensor, element: int, layer: str | None = None) -> Place:
    """Find the vertex that writes an element last.

    Args:
        program: whose steps are searched.
        tensor: where a value lies.
        element: row-major position in the tensor.
        layer: what layers after this one write, in the place of its values, does not count.
    """
    home = _home(tensor, element)
    if home is None:
        return Place(None, None, None, None)
    variable, at = home
    names = [one.name for one in program.layers]
    later = set(names[names.index(layer) + 1 :]) if layer in names else set()
    for step, call in reversed(list(program.executed())):
        if isinstance(step, Execute | Sweep):
            if (call.layer if call else step.compute_set.families[0].layer) in later:
                continue
            place = _writer(step.compute_set, variable, at)
            if place is not None:
                return place
        elif isinstance(step, Copy):
            move = _move_onto(step, variable, at)
            if move is not None and move.source is None:
                break  # filled with a constant: the element begins here
            if move is not None:
                variable, at = _source(move, at)
    tile = int(program.variables[variable].mapped().tile_of(np.array([at]))[0])
    return Place(None, None, tile, None)


def _home(tensor: Tensor, element: int) -> tuple[int, int] | None:
    """Variable and element behind a position of a tensor; None for a constant fill."""
    index = np.unravel_index(element, tensor.shape) if tensor.shape else ()
    point = np.array(index, np.int64)
    for piece in tensor.pieces:
        begin = np.array(piece.begin, np.int64)
        inside = point - begin
        if not ((inside >= 0) & (inside < piece.source.shape)).all():
            continue
        if isinstance(piece.source, Fill):
            return None
        steps = zip(piece.source.axes, inside, strict=True)
        offset = sum(int(axis_offsets(axis, i)) for axis, i in steps)
        return piece.source.variable, piece.source.offset + offset
    return None


def _window(access: Access) -> Ints:
    """Element offsets of a window, row-major: int64[window size]."""
    offsets = np.zeros(1, np.int64)
    for extent, stride in zip(access.shape, access.strides, strict=True):
        offsets = np.add.outer(offsets, np.arange(extent, dtype=np.int64) * stride).ravel()
    return offsets


def _covering(access: Access, element: int) -> Ints:
    """Vertices, row-major over the grid, whose window holds an element."""
    relative = element - access.offset.dense().ravel()
    low, high = access.extent()
    near = np.flatnonzero((relative >= low) & (relative <= high))
    return near[np.isin(relative[near], _window(access))]


def _writer(compute_set: ComputeSet, variable: int, element: int) -> Place | None:
    first = 0
    for family in compute_set.families:
        for spec in family.codelet.fields:
            access = family.fields[spec.name]
            if not spec.writes or access.variable != variable:
                continue
            found = _covering(access, element)
            if len(found):
                # Positions of a sweep run in order, so the last that covers it is the writer.
                vertex = found[-1:]
                tile = int(family.tile.at(vertex)[0])
                return Place(compute_set.name, family.codelet.name, tile, first + int(vertex[0]))
        first += family.count
    return None


def _move_onto(copy: Copy, variable: int, element: int) -> Move | None:
    """The piece of a copy that writes an element; None if none does."""
    for move in copy.moves:
        into = move.destination
        if into.variable == variable and element - _begin(into) in _window(into):
            return move
    return None


def _source(move: Move, element: int) -> tuple[int, int]:
    """Variable and element that a piece of a copy brings to an element."""
    assert move.source is not None
    place = int(np.argmax(_window(move.destination) == element - _begin(move.destination)))
    return move.source.variable, _begin(move.source) + int(_window(move.source)[place])


def _begin(access: Access) -> int:
    return int(access.offset.dense().ravel()[0])
