"""Work that maps element to element: split over tiles, one box of the operands at a time."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from ipuc.codelets.define import Codelet
from ipuc.errors import ProgramError
from ipuc.planner.context import Context
from ipuc.planner.in_place import write_over
from ipuc.planner.portions import portions, row_major
from ipuc.planner.search import candidates, rank
from ipuc.planner.worker.elements import in_groups
from ipuc.program.builder import ComputeSetBuilder, common_factors
from ipuc.program.family import Access
from ipuc.program.split import balanced_parts
from ipuc.program.tensor import Fill, Tensor, View, boxes
from ipuc.program.variables import MIN_BYTES_PER_TILE
from ipuc.types import Shape

#: Operands in more boxes than this are copied into one piece first.
MAX_BOXES = 64


def elementwise(
    ctx: Context,
    codelet: Codelet,
    operands: Mapping[str, Tensor],
    dtype: str,
    name: str,
    over: Iterable[str] = (),
) -> Tensor:
    """Apply a codelet to broadcast operands.

    Args:
        ctx: the lowering.
        codelet: all its fields have one window shape; the output field is called "out".
        operands: input tensors by field name, of shapes that broadcast.
        dtype: element type of the result, as tiles carry it.
        name: name of the result.
        over: fields whose operands the layer being lowered does not read again. The result takes
            the place of the first of them that nothing else needs and that has its shape, type
            and layout.

    Returns:
        That operand, or a new variable of the broadcast shape: row-major, or at granularity
        `worker` in groups of channels where operands of that shape lie so.
    """
    made = write_over(ctx, codelet, operands, dtype, name, over)
    if made is not None:
        return made
    made = in_groups(ctx, codelet, operands, dtype, name)
    if made is not None:
        return made
    shape = np.broadcast_shapes(*(tensor.shape for tensor in operands.values()))
    out = ctx.builder.variable(name, dtype, shape)
    fields = [*operands, "out"]
    tensors = [*(tensor.expand(shape) for tensor in operands.values()), out]
    work = _common_boxes(ctx, tensors)
    total = max(1, math.prod(shape))
    first_tile = 0
    with ctx.builder.compute_set(name) as compute_set:
        for _, extents, sources in work:
            share = max(1, ctx.target.tiles * math.prod(extents) // total)
            if first_tile + share > ctx.target.tiles:
                first_tile = 0
            views = [
                _solid(ctx, source, tensor.dtype)
                for source, tensor in zip(sources, tensors, strict=True)
            ]
            used = _add_box(
                ctx, compute_set, codelet, dict(zip(fields, views, strict=True)), share, first_tile
            )
            first_tile += used
    return out


def _common_boxes(
    ctx: Context, tensors: list[Tensor]
) -> list[tuple[Shape, Shape, list[View | Fill]]]:
    """Boxes on which every operand is one view; operands in too many pieces are copied."""
    work = boxes(tensors)
    divisible = len(work) <= MAX_BOXES
    if divisible:
        try:
            for _, _, sources in work:
                common_factors(sources)
        except ProgramError:
            divisible = False
    if not divisible:
        tensors[:-1] = [
            t if _is_plain(t) else ctx.builder.copy(t, "gather pieces") for t in tensors[:-1]
        ]
        work = boxes(tensors)
    return work


def _is_plain(tensor: Tensor) -> bool:
    view = tensor.view()
    return view is not None and all(len(axis) <= 1 for axis in view.axes)


def _solid(ctx: Context, source: View | Fill, dtype: str) -> View:
    if isinstance(source, View):
        return source
    view = ctx.scalar(source.value, dtype, source.shape).view()
    assert view is not None
    return view


def _add_box(
    ctx: Context,
    compute_set: ComputeSetBuilder,
    codelet: Codelet,
    views: Mapping[str, View],
    tiles: int,
    first_tile: int,
) -> int:
    """Split one box over `tiles` tiles; returns how many were used."""
    factors = common_factors(list(views.values())) or [(1, [0] * len(views))]
    extents = tuple(n for n, _ in factors)
    itemsize = max(ctx.builder.variables[view.variable].itemsize for view in views.values())
    parts, grains = _split(ctx, codelet, list(views), extents, itemsize, tiles)
    numbers = row_major(parts)
    for portion in portions(extents, parts, grains, ctx.granularity, ctx.target.worker_contexts):
        fields: dict[str, Access] = {}
        for position, (field, view) in enumerate(views.items()):
            strides = [s[position] for _, s in factors]
            fields[field] = portion.access(view.variable, view.offset, strides)
        compute_set.add(codelet, portion.numbers(numbers, first_tile), **fields)
    return math.prod(parts)


def _split(
    ctx: Context, codelet: Codelet, fields: Sequence[str], extents: Shape, itemsize: int, tiles: int
) -> tuple[list[int], list[int]]:
    """Parts and grains of each dimension: fewest cycles, then fewest pieces, then fewest tiles."""
    grain = ctx.target.vector_width(itemsize)
    if len(extents) == 1:
        least = max(1, MIN_BYTES_PER_TILE // itemsize)
        return [balanced_parts(extents[0], tiles, grain, least)], [grain]
    key = ("elementwise", codelet, extents, itemsize, tiles)
    grains = [1] * (len(extents) - 1) + [grain]
    if key not in ctx.plans:
        counts = [-(-n // g) for n, g in zip(extents, grains, strict=True)]
        table = candidates(counts, tiles)
        window = tuple(
            np.minimum(-(-counts[d] // table[:, d]) * grains[d], extents[d])
            for d in range(len(extents))
        )
        cycles = codelet.cycles(ctx.target, dict.fromkeys(fields, window), itemsize)
        pieces = np.prod(np.stack(window[:-1]), axis=0)
        best = rank([np.broadcast_to(cycles, pieces.shape), pieces, np.prod(table, axis=1)])[0]
        ctx.plans[key] = [int(p) for p in table[best]]
    return ctx.plans[key], grains
