"""Work on elements that writes its result over an operand: no second buffer, and no exchange.

The vertices stand where the operand's elements were made, one for each vertex that made them.
Source: PopLibs' popops, whose elementwise operations have vertices in place beside the others.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ipuc.codelets.binary import BinaryOp
from ipuc.codelets.binary_in_place import BinaryOpInPlace
from ipuc.codelets.clamp import Clamp
from ipuc.codelets.clamp_in_place import ClampInPlace
from ipuc.codelets.define import Codelet
from ipuc.codelets.multiply_add import MultiplyAdd
from ipuc.codelets.multiply_add_in_place import MultiplyAddInPlace
from ipuc.codelets.select import Select
from ipuc.codelets.select_in_place import SelectInPlace
from ipuc.codelets.unary import UnaryOp
from ipuc.codelets.unary_in_place import UnaryOpInPlace
from ipuc.errors import ProgramError
from ipuc.graph.ir import Graph
from ipuc.planner.context import Context
from ipuc.planner.portions import portions
from ipuc.program import mapping
from ipuc.program.builder import common_factors
from ipuc.program.family import Access, IndexMap, VertexFamily, separable
from ipuc.program.operand import scatter
from ipuc.program.tensor import Tensor, View
from ipuc.types import Ints, Shape

#: Operations whose operands may change places.
_COMMUTING = frozenset({"add", "mul"})
#: The codelet in place, and the field that it writes over.
_Made = tuple[Codelet, str]


def _unary(codelet: Codelet, field: str) -> _Made | None:
    assert isinstance(codelet, UnaryOp)
    return UnaryOpInPlace(codelet.op, codelet.numbers), field


def _binary(codelet: Codelet, field: str) -> _Made | None:
    assert isinstance(codelet, BinaryOp)
    if codelet.integer or (field == "b" and codelet.op not in _COMMUTING):
        return None
    return BinaryOpInPlace(codelet.op), "a"


def _first(made: Codelet, wanted: str) -> Callable[[Codelet, str], _Made | None]:
    return lambda _, field: (made, field) if field == wanted else None


_IN_PLACE: dict[type[Codelet], Callable[[Codelet, str], _Made | None]] = {
    BinaryOp: _binary,
    Clamp: _first(ClampInPlace(), "x"),
    MultiplyAdd: _first(MultiplyAddInPlace(), "x"),
    Select: _first(SelectInPlace(), "a"),
    UnaryOp: _unary,
}


def write_over(
    ctx: Context,
    codelet: Codelet,
    operands: Mapping[str, Tensor],
    dtype: str,
    name: str,
    over: Iterable[str],
) -> Tensor | None:
    """Apply a codelet to broadcast operands, with the result in place of one of them.

    Args:
        ctx: the lowering.
        codelet: as `ipuc.planner.elementwise.elementwise` takes it.
        operands: input tensors by field name, of shapes that broadcast.
        dtype: element type of the result, as tiles carry it.
        name: name of the result.
        over: fields that the layer being lowered does not read again.

    Returns:
        The operand that holds the result now; None, and nothing done, if none may be written over:
        it has another shape or type, is needed later, is an input of the program or a constant,
        is not the whole of a variable, lies scattered, or its makers do not cover it once.
    """
    replace = _IN_PLACE.get(type(codelet))
    shape = np.broadcast_shapes(*(tensor.shape for tensor in operands.values()))
    # Whole numbers stand for longer ones in some variables and not in others; flags are rare.
    if replace is None or not dtype.startswith("float"):
        return None
    for field in over:
        tensor, made = operands[field], replace(codelet, field)
        if made is None or tensor.shape != shape or tensor.dtype != dtype:
            continue
        rest = {other: t.expand(shape) for other, t in operands.items() if other != field}
        families = _vertices(ctx, tensor, list(rest.values()))
        if families is None:
            continue
        in_place, written = made
        names = [written, *([*rest] if written == field else [field])]
        with ctx.builder.compute_set(name) as compute_set:
            for tile, accesses in families:
                compute_set.add(in_place, tile, **dict(zip(names, accesses, strict=True)))
        return tensor
    return None


def _vertices(
    ctx: Context, tensor: Tensor, rest: Sequence[Tensor]
) -> list[tuple[IndexMap, list[Access]]] | None:
    """Tile and fields of the vertices that may write over a tensor: its own field, then the rest's.

    None if it may not be written over.
    """
    view, others = tensor.view(), [other.view() for other in rest]
    if view is None or not tensor.size:
        return None
    known = [other for other in others if other is not None]
    if len(known) < len(rest) or any(view.variable == other.variable for other in known):
        return None
    if not may_overwrite(ctx, view.variable):
        return None
    blocks = _blocks(ctx, view.variable)
    digits = _digits(view, known, ctx.builder.variables[view.variable].size)
    if blocks is None or digits is None or _scattered(ctx, view.variable, blocks):
        return None
    found: list[tuple[IndexMap, list[Access]]] = []
    for block in blocks:
        made = _accesses(block, view, known, digits)
        if made is None:
            return None
        found += _cut(ctx, block, made)
    return found


def may_overwrite(ctx: Context, variable: int, *, mapped: bool = False) -> bool:
    """Whether nothing after the layer being lowered needs what a variable holds.

    Graph values that lie in it, as a whole, in part, or as a view, count with their last reader;
    the layer itself may read it through one of its inputs only. A variable that somebody mapped
    stays as it is, unless `mapped` says that the vertices in place heed where it lies.
    """
    if variable in ctx.builder.constants:
        return False
    if ctx.builder.variables[variable].mapping is not None and not mapped:
        return False
    last, now = last_readers(ctx), len(ctx.builder.layers)
    lying = [*ctx.builder.values.items()]
    lying += [(value, tensor) for (value, _), tensor in ctx._converted.items()]  # noqa: SLF001
    inside = {value for value, tensor in lying if _lies_in(tensor, variable)}
    reads = sum(name in inside for name in ctx.graph.nodes[now].inputs)
    return reads <= 1 and all(last.get(value, -1) <= now for value in inside)


def _lies_in(tensor: Tensor, variable: int) -> bool:
    sources = (piece.source for piece in tensor.pieces)
    return any(isinstance(source, View) and source.variable == variable for source in sources)


def last_readers(ctx: Context) -> dict[str, int]:
    """Number of the last node that reads each value; beyond all nodes for graph outputs."""
    known: tuple[Graph, dict[str, int]] | None = ctx.plans.get("last readers")
    if known is None or known[0] is not ctx.graph:
        last = {name: at for at, node in enumerate(ctx.graph.nodes) for name in node.inputs}
        last.update(dict.fromkeys(ctx.graph.roots(), len(ctx.graph.nodes)))
        known = ctx.plans["last readers"] = (ctx.graph, last)
    return known[1]


@dataclass(frozen=True, slots=True)
class _Block:
    """What the vertices of one family made of a variable.

    Attributes:
        family: the vertices; axes that repeat the same elements are dropped.
        access: the elements, with steps forward only.
    """

    family: VertexFamily
    access: Access


def _blocks(ctx: Context, variable: int) -> list[_Block] | None:
    """The parts in which a variable was made, if every element was made by one vertex."""
    blocks: list[_Block] = []
    marks = np.zeros(ctx.builder.variables[variable].size, bool)
    made = 0
    for family in ctx.builder.makers(variable):
        kept = family
        fields = [s.name for s in family.codelet.fields if s.writes]
        name = next(n for n in fields if family.fields[n].variable == variable)
        access = family.fields[name]
        if access.offset.explicit is not None or family.tile.explicit is not None:
            return None
        if len([n for n in fields if family.fields[n].variable == variable]) > 1:
            return None
        shared = zip(access.offset.shared_axes(), family.tile.shared_axes(), strict=True)
        for axis, (same, one_tile) in enumerate(shared):
            if same and one_tile:  # an accumulation: the same elements, again
                kept, access = kept.slice(axis, 0), access.slice(axis, 0)
        if any(
            stride <= 0 for n, stride in zip(access.shape, access.strides, strict=True) if n > 1
        ):
            return None
        scatter(access, marks, np.asarray(True))
        made += kept.count * math.prod(access.shape)
        blocks.append(_Block(kept, access))
    return blocks if blocks and made == marks.size and marks.all() else None


def _scattered(ctx: Context, variable: int, blocks: list[_Block]) -> bool:
    """Whether a value lies in so many pieces that a result in order is worth a buffer."""
    made = ctx.builder.variables[variable]
    runs = sum(block.family.count * len(block.access.runs()) for block in blocks)
    return runs > ctx.target.tiles and runs * mapping.RUN_BYTES > made.size * made.itemsize


@dataclass(frozen=True, slots=True)
class _Digits:
    """Elements of a variable as numbers of several digits, in each of which all views move evenly.

    Attributes:
        extents: how many values each digit has, the fastest digit last.
        units: what one step of each digit is worth in the variable.
        steps: how far each step moves each of the other views: one list for each view.
    """

    extents: list[int]
    units: list[int]
    steps: list[list[int]]

    def split(self, numbers: Ints) -> Ints:
        """Digits of element numbers: int64[digits, *numbers]."""
        pairs = zip(self.units, self.extents, strict=True)
        return np.stack([numbers // unit % extent for unit, extent in pairs])


def _digits(view: View, others: list[View], size: int) -> _Digits | None:
    """None if the view is not the whole of its variable, each element once."""
    try:
        factors = common_factors([view, *others])
    except ProgramError:
        return None
    factors = sorted((f for f in factors if f[0] > 1), key=lambda factor: -factor[1][0])
    unit = 1
    for extent, strides in reversed(factors):
        if strides[0] != unit:
            return None
        unit *= extent
    if unit != size or view.offset:
        return None
    factors = factors or [(1, [1, *(0 for _ in others)])]
    steps = [[strides[number + 1] for _, strides in factors] for number in range(len(others))]
    return _Digits([n for n, _ in factors], [strides[0] for _, strides in factors], steps)


def _accesses(
    block: _Block, view: View, others: list[View], digits: _Digits
) -> list[Access] | None:
    """Fields for one family: the elements themselves, and what meets them in the other views.

    None where those do not lie at even steps.
    """
    window = _window(block.access, digits)
    if window is None:
        return None
    shape, strides = window
    tables = block.access.offset.tables
    base = block.access.offset.base + sum(int(table.min()) for table in tables)
    moves = [digits.split(table - table.min()) for table in tables]
    first = digits.split(np.array(base))
    reach = np.array([(n - 1) * s for n, s in zip(shape, strides, strict=True)], np.int64)
    # Without a carry from one digit to the next, what a sum of numbers moves is the sum of what
    # each of them moves.
    most = first + sum((move.max(axis=1) for move in moves), np.zeros_like(first))
    most = most + digits.split(reach).sum(axis=1)
    if (most >= np.array(digits.extents)).any():
        return None
    made = [Access(view.variable, block.access.offset, shape, strides)]
    single = digits.split(np.array(strides, np.int64))
    for other, steps in zip(others, digits.steps, strict=True):
        step = np.array(steps, np.int64)
        offset = separable(other.offset + int(step @ first), *(step @ move for move in moves))
        made.append(Access(other.variable, offset, shape, tuple(int(s) for s in step @ single)))
    return made


def _window(access: Access, digits: _Digits) -> tuple[Shape, tuple[int, ...]] | None:
    """The axes of a window, cut so that each moves one digit: (extents, strides)."""
    shape: list[int] = []
    strides: list[int] = []
    for extent, stride in zip(access.shape, access.strides, strict=True):
        pieces: list[tuple[int, int]] = []
        left, at = extent, stride
        while left > 1:
            pairs = zip(digits.units, digits.extents, strict=True)
            unit, most = next((u, n) for u, n in pairs if u <= at)
            if at % unit:
                return None
            room = most // (at // unit) if most % (at // unit) == 0 else 1
            if (left - 1) * (at // unit) < most:
                pieces.append((left, at))
                break
            if room < 2 or left % room:  # no step fits, or they do not come out
                return None
            pieces.append((room, at))
            left, at = left // room, at * room
        shape += [n for n, _ in reversed(pieces)]
        strides += [s for _, s in reversed(pieces)]
    return (tuple(shape), tuple(strides)) if shape else ((1,), (1,))


def _cut(
    ctx: Context, block: _Block, accesses: list[Access]
) -> Iterator[tuple[IndexMap, list[Access]]]:
    """Cut vertices that all workers made into the sizes of the granularity."""
    tile = block.family.tile
    if ctx.granularity == "tile" or block.family.workers == "one":
        yield tile, accesses
        return
    shape = accesses[0].shape
    ones = [1] * len(shape)
    for portion in portions(shape, ones, ones, ctx.granularity, ctx.target.worker_contexts):
        axes = [axis for axis in portion.axes if axis.number is None]
        nowhere = [np.zeros_like(axis.begin) for axis in axes]
        made = [
            Access(
                access.variable,
                separable(
                    access.offset.base,
                    *access.offset.tables,
                    *(axis.begin * access.strides[axis.dim] for axis in axes),
                ),
                portion.shape,
                access.strides,
            )
            for access in accesses
        ]
        yield separable(tile.base, *tile.tables, *nowhere), made
