"""Tensors: free views of variables. Transposing, slicing or joining one moves no data.

A tensor is a list of boxes that tile its shape. A box is a strided view of one variable, or a
constant fill. Every axis of a view is a list of (extent, stride) factors, outermost first, so
that merging axes is always free and splitting one is free where its factors allow it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ipuc.errors import ShapeError
from ipuc.program.variables import Variable
from ipuc.types import Ints, Shape

Factor = tuple[int, int]
Axis = tuple[Factor, ...]


@dataclass(frozen=True, slots=True)
class View:
    """A strided view of a variable: element `offset` + the sum over all factors of i * stride."""

    variable: int
    offset: int
    axes: tuple[Axis, ...]

    @property
    def shape(self) -> Shape:
        """Extents of the box."""
        return tuple(math.prod(n for n, _ in axis) for axis in self.axes)


@dataclass(frozen=True, slots=True)
class Fill:
    """A box of one repeated constant, which lives nowhere."""

    value: float
    shape: Shape


@dataclass(frozen=True, slots=True)
class Piece:
    """A box at a position of its tensor."""

    begin: Shape
    source: View | Fill

    @property
    def end(self) -> Shape:
        """One past the box's last index, per axis."""
        return tuple(b + n for b, n in zip(self.begin, self.source.shape, strict=True))


@dataclass(frozen=True, slots=True)
class Tensor:
    """A view of one or more variables: shape, element type that tiles carry, and boxes."""

    shape: Shape
    dtype: str
    pieces: tuple[Piece, ...]

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def itemsize(self) -> int:
        """Bytes of one element."""
        return np.dtype(self.dtype).itemsize

    def view(self) -> View | None:
        """The only box, if the tensor is one strided view."""
        if len(self.pieces) == 1 and isinstance(self.pieces[0].source, View):
            return self.pieces[0].source
        return None

    def transpose(self, order: Sequence[int]) -> Tensor:
        """Reorder the axes."""

        def turn(source: View | Fill) -> View | Fill:
            if isinstance(source, Fill):
                return Fill(source.value, tuple(source.shape[a] for a in order))
            return replace(source, axes=tuple(source.axes[a] for a in order))

        pieces = tuple(Piece(tuple(p.begin[a] for a in order), turn(p.source)) for p in self.pieces)
        return Tensor(tuple(self.shape[a] for a in order), self.dtype, pieces)

    def slice(self, axis: int, begin: int, end: int, step: int = 1) -> Tensor:
        """Take indices begin, begin + step, ... before `end` of one axis.

        Args:
            axis: which.
            begin: first index, within the axis.
            end: where to stop, -1 for "past the first element" with a negative step.
            step: not 0.
        """
        count = max(0, -(-(end - begin) // step))
        shape = (*self.shape[:axis], count, *self.shape[axis + 1 :])
        pieces: list[Piece] = []
        for piece in self.pieces if count else ():
            low, high = piece.begin[axis], piece.end[axis]
            # indices k of the result with low <= begin + k * step < high
            first, last = (low, high - 1) if step > 0 else (high - 1, low)
            k0 = max(0, -((begin - first) // step) if step > 0 else -(-(first - begin) // step))
            k1 = min(count - 1, (last - begin) // step)
            if k0 > k1:
                continue
            start = begin + k0 * step - low
            for at, source in _take(piece.source, axis, start, step, k1 - k0 + 1):
                where = (*piece.begin[:axis], k0 + at, *piece.begin[axis + 1 :])
                pieces.append(Piece(where, source))
        return Tensor(shape, self.dtype, tuple(pieces))

    def expand(self, shape: Shape) -> Tensor:
        """Repeat axes of extent 1 (and missing leading ones) to a larger shape, NumPy's rule.

        Raises:
            ShapeError: the shapes do not broadcast.
        """
        lead = len(shape) - len(self.shape)
        old = (1,) * lead + self.shape
        if lead < 0 or any(o not in (1, n) for o, n in zip(old, shape, strict=True)):
            raise ShapeError(f"shape {self.shape} does not broadcast to {shape}")

        def stretch(source: View | Fill) -> View | Fill:
            if isinstance(source, Fill):
                extents = (1,) * lead + source.shape
                return Fill(source.value, _stretched(extents, old, shape))
            axes = ((),) * lead + source.axes
            return replace(
                source,
                axes=tuple(
                    ((n, 0),) if o == 1 and n != 1 else axis
                    for axis, o, n in zip(axes, old, shape, strict=True)
                ),
            )

        pieces = tuple(Piece((0,) * lead + p.begin, stretch(p.source)) for p in self.pieces)
        return Tensor(shape, self.dtype, pieces if math.prod(shape) else ())

    def reshape(self, shape: Shape) -> Tensor | None:
        """View the same elements, in row-major order, under another shape; None if no view can."""
        if shape == self.shape:
            return self
        if math.prod(shape) == 0:
            return Tensor(shape, self.dtype, ())
        groups = _groups(self.shape, shape)
        pieces: list[Piece] = []
        for piece in self.pieces:
            made = _reshape_piece(piece, self.shape, shape, groups)
            if made is None:
                return None
            pieces.append(made)
        return Tensor(shape, self.dtype, tuple(pieces))


def of_variable(variable: Variable) -> Tensor:
    """The whole of a variable, in row-major order."""
    axes: list[Axis] = []
    stride = variable.size
    for extent in variable.shape:
        stride //= max(extent, 1)
        axes.append(((extent, stride),))
    pieces = (Piece((0,) * len(axes), View(variable.id, 0, tuple(axes))),) if variable.size else ()
    return Tensor(variable.shape, variable.dtype, pieces)


def fill(value: float, shape: Shape, dtype: str) -> Tensor:
    """A tensor of one repeated constant."""
    pieces = (Piece((0,) * len(shape), Fill(value, shape)),) if math.prod(shape) else ()
    return Tensor(shape, dtype, pieces)


def concat(tensors: Sequence[Tensor], axis: int) -> Tensor:
    """Join tensors of one element type along an axis."""
    pieces: list[Piece] = []
    at = 0
    for tensor in tensors:
        for piece in tensor.pieces:
            begin = (*piece.begin[:axis], piece.begin[axis] + at, *piece.begin[axis + 1 :])
            pieces.append(Piece(begin, piece.source))
        at += tensor.shape[axis]
    first = tensors[0].shape
    return Tensor((*first[:axis], at, *first[axis + 1 :]), tensors[0].dtype, tuple(pieces))


def axis_offsets(axis: Axis, index: Ints) -> Ints:
    """Element offset of each index of one axis of a view."""
    total = np.zeros(index.shape, np.int64)
    rest = np.asarray(index, np.int64)
    for extent, stride in reversed(axis):
        rest, inner = np.divmod(rest, extent)
        total += inner * stride
    return total


def coalesce(axis: Axis) -> Axis:
    """Merge factors that are one run, and drop those of extent 1."""
    merged: list[Factor] = []
    for extent, stride in axis:
        if extent == 1:
            continue
        if merged and merged[-1][1] == extent * stride:
            merged[-1] = (merged[-1][0] * extent, stride)
        else:
            merged.append((extent, stride))
    return tuple(merged)


def boxes(tensors: Sequence[Tensor]) -> list[tuple[Shape, Shape, list[View | Fill]]]:
    """Cut tensors of one shape into common boxes: (begin, shape, one source per tensor).

    The cuts of all tensors are combined per axis, so a box lies in one piece of each tensor.
    """
    shape = tensors[0].shape
    whole = [p for t in tensors for p in t.pieces]
    cuts = [
        sorted({edge for p in whole for edge in (p.begin[a], p.end[a])}) for a in range(len(shape))
    ]
    found: list[tuple[Shape, Shape, list[View | Fill]]] = []
    if math.prod(shape) == 0:
        return found
    for index in np.ndindex(*(max(len(c) - 1, 1) for c in cuts)):
        begin = tuple(c[i] for c, i in zip(cuts, index, strict=True))
        extents = tuple(c[i + 1] - c[i] for c, i in zip(cuts, index, strict=True))
        found.extend(_cut(tensors, begin, extents))
    return found


def _cut(
    tensors: Sequence[Tensor], begin: Shape, extents: Shape
) -> list[tuple[Shape, Shape, list[View | Fill]]]:
    parts: list[Tensor] = []
    for tensor in tensors:
        part = tensor
        for axis, (low, extent) in enumerate(zip(begin, extents, strict=True)):
            if part.shape[axis] != extent:
                part = part.slice(axis, low, low + extent)
        parts.append(part)
    if all(len(part.pieces) == 1 for part in parts):
        return [(begin, extents, [part.pieces[0].source for part in parts])]
    # A slice through a factored axis has up to three pieces: cut again along those.
    return [
        (tuple(b + x for b, x in zip(begin, at, strict=True)), shape, sources)
        for at, shape, sources in boxes(parts)
    ]


def _stretched(extents: Shape, old: Shape, new: Shape) -> Shape:
    return tuple(n if o == 1 else e for e, o, n in zip(extents, old, new, strict=True))


def _take(
    source: View | Fill, axis: int, start: int, step: int, count: int
) -> list[tuple[int, View | Fill]]:
    """Cut indices start + k * step (k < count) out of a box: (first k, piece) in order."""
    shape = source.shape
    if isinstance(source, Fill):
        return [(0, Fill(source.value, (*shape[:axis], count, *shape[axis + 1 :])))]
    if start == 0 and step == 1 and count == shape[axis]:
        return [(0, source)]
    return [
        (k, replace(source, offset=source.offset + offset, axes=_with_axis(source.axes, axis, new)))
        for k, offset, new in _take_axis(coalesce(source.axes[axis]), start, step, count)
    ]


def _with_axis(axes: tuple[Axis, ...], axis: int, new: Axis) -> tuple[Axis, ...]:
    return (*axes[:axis], new, *axes[axis + 1 :])


def _take_axis(axis: Axis, start: int, step: int, count: int) -> list[tuple[int, int, Axis]]:
    """Cut an arithmetic progression of indices out of a factored axis: (k, offset, factors)."""
    if count == 1 or len(axis) <= 1:
        stride = axis[0][1] if axis else 0
        offset = int(axis_offsets(axis, np.array([start]))[0])
        return [(0, offset, ((count, stride * step),) if count > 1 else ((1, 0),))]
    (_, stride), inner_axis = axis[0], axis[1:]
    inner = math.prod(n for n, _ in inner_axis)
    if step == 1 and start % inner == 0 and count % inner == 0:
        return [(0, start // inner * stride, ((count // inner, stride), *inner_axis))]
    if step == 1 and start % inner == 0 and count > inner:
        whole = count // inner
        head = (0, start // inner * stride, ((whole, stride), *inner_axis))
        rest = _take_axis(axis, start + whole * inner, 1, count - whole * inner)
        return [head, *((whole * inner + k, o, a) for k, o, a in rest)]
    # as many indices as lie in the same outer position, then the rest
    position = start // inner
    room = (position + 1) * inner - 1 - start if step > 0 else start - position * inner
    here = min(count, room // abs(step) + 1)
    first = [
        (k, position * stride + o, a)
        for k, o, a in _take_axis(inner_axis, start - position * inner, step, here)
    ]
    if here == count:
        return first
    rest = _take_axis(axis, start + here * step, step, count - here)
    return first + [(here + k, o, a) for k, o, a in rest]


def _groups(old: Shape, new: Shape) -> list[tuple[int, int, int, int]]:
    """Match runs of old and new axes with equal products: (old from, to, new from, to)."""
    groups: list[tuple[int, int, int, int]] = []
    i = j = 0
    while i < len(old) or j < len(new):
        i0, j0 = i, j
        a = old[i] if i < len(old) else 1
        b = new[j] if j < len(new) else 1
        i, j = min(i + 1, len(old)), min(j + 1, len(new))
        while a != b:
            if a < b:
                a *= old[i]
                i += 1
            else:
                b *= new[j]
                j += 1
        groups.append((i0, i, j0, j))
    return groups


def _reshape_piece(
    piece: Piece, old: Shape, new: Shape, groups: list[tuple[int, int, int, int]]
) -> Piece | None:
    begin: list[int] = []
    axes: list[Axis] = []
    extents: list[int] = []
    for i0, i1, j0, j1 in groups:
        box = _reshape_box(piece.begin[i0:i1], piece.source.shape[i0:i1], old[i0:i1], new[j0:j1])
        if box is None:
            return None
        begin += [b for b, _ in box]
        extents += [n for _, n in box]
        if isinstance(piece.source, View):
            flat = tuple(f for axis in piece.source.axes[i0:i1] for f in axis)
            split = _split_factors(flat, [n for _, n in box])
            if split is None:
                return None
            axes += split
    if isinstance(piece.source, Fill):
        return Piece(tuple(begin), Fill(piece.source.value, tuple(extents)))
    return Piece(tuple(begin), replace(piece.source, axes=tuple(axes)))


def _reshape_box(
    begin: Shape, extents: Shape, old: Shape, new: Shape
) -> list[tuple[int, int]] | None:
    """Where a box of the old axes lies on the new ones: (begin, extent) each; None if in no box."""
    size = math.prod(extents)
    if size == math.prod(old):
        return [(0, n) for n in new]
    # the box must be one run of the group: after its first cut axis every axis is whole
    run, low = 1, 0
    for b, e, n in zip(begin, extents, old, strict=True):
        if run > 1 and e != n:
            return None
        run *= e
        low = low * n + b
    box: list[tuple[int, int]] = []
    stride = math.prod(new)
    at, rest = low, size
    for n in new:
        stride //= n
        first, at = divmod(at, stride)
        if rest >= stride:
            if at or rest % stride or first + rest // stride > n:
                return None
            box.append((first, rest // stride))
            rest = stride
        else:
            box.append((first, 1))
    return box


def _split_factors(factors: Axis, extents: list[int]) -> list[Axis] | None:
    """Deal the factors of a run out to new axes, splitting factors that divide."""
    stack = list(coalesce(factors))
    axes: list[Axis] = []
    for extent in reversed(extents):
        need, axis = extent, []
        while need > 1:
            n, stride = stack.pop()
            if need % n == 0:
                axis.append((n, stride))
                need //= n
            elif n % need == 0:
                axis.append((need, stride))
                stack.append((n // need, stride * need))
                need = 1
            else:
                return None
        axes.append(tuple(reversed(axis)) or ((1, 0),))
    return axes[::-1]
