"""The moves of a copy step, from tensors."""

from __future__ import annotations

from collections.abc import Sequence

from ipuc.errors import ProgramError, ShapeError
from ipuc.program.factors import common_factors
from ipuc.program.family import Access, IndexMap
from ipuc.program.steps import Move
from ipuc.program.tensor import Fill, Tensor, View, boxes
from ipuc.types import Shape


def copy_moves(destination: Tensor, source: Tensor) -> list[Move]:
    """Copy a tensor onto another of the same shape, piece by piece.

    Raises:
        ShapeError: the shapes differ.
        ProgramError: the destination holds a constant fill.
    """
    if destination.shape != source.shape:
        raise ShapeError(f"cannot copy {source.shape} onto {destination.shape}")
    moves: list[Move] = []
    for _, _, (into, out_of) in boxes([destination, source]):
        if not isinstance(into, View):
            raise ProgramError("a constant fill cannot be written")
        factors = common_factors([into, out_of])
        extents = tuple(n for n, _ in factors)
        target = _point(into, extents, [s[0] for _, s in factors])
        if isinstance(out_of, Fill):
            moves.append(Move(target, None, out_of.value))
        else:
            moves.append(Move(target, _point(out_of, extents, [s[1] for _, s in factors])))
    return moves


def _point(view: View, shape: Shape, strides: Sequence[int]) -> Access:
    return Access(view.variable, IndexMap(view.offset), tuple(shape), tuple(strides))
