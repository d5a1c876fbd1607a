"""Matrix products: batches, rows, columns and depth split over tiles."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from ipuc.codelets.matmul_partial import MatMulPartial
from ipuc.planner.context import Context
from ipuc.planner.conv_problem import Conv
from ipuc.planner.convolution import convolve
from ipuc.planner.partials import add_partials
from ipuc.planner.poplin.cost import Pass
from ipuc.planner.portions import FINE_ELEMENTS, GridAxis, Portion, portions, row_major
from ipuc.planner.worker import dense
from ipuc.program.family import Access, separable
from ipuc.program.split import split_axis
from ipuc.program.tensor import Tensor, coalesce
from ipuc.types import Shape


def multiply(ctx: Context, a: Tensor, b: Tensor, name: str) -> Tensor:
    """Add the vertices of a matrix product that belongs to no fully connected layer of 2017.

    Args:
        ctx: the lowering.
        a: [*batch, m, k].
        b: [*batch, k, n], the same batch shape (broadcast views are free).
        name: name of the result.

    Returns:
        [*batch, m, n], element type of `a`: a view of a new variable.
    """
    if ctx.granularity == "tile":
        return _as_convolution(ctx, a, b, name)
    builder = ctx.builder
    a, b = builder.solid(a, f"{name} left"), builder.solid(b, f"{name} right")
    shape = (*a.shape[:-1], b.shape[-1])
    out = builder.variable(name, a.dtype, shape)
    extents = (*shape, a.shape[-1])
    if 0 in extents:
        builder.copy_into(out, ctx.scalar(0.0, a.dtype, shape), name)
        return out
    parts = _plan(ctx, extents)
    depth_parts = parts[-1]
    if ctx.granularity == "fine":
        depth_parts = -(-extents[-1] // FINE_ELEMENTS)
    partials = out
    if depth_parts > 1:
        partials = builder.variable(
            f"{name} partials", ctx.partials(a.itemsize), (depth_parts, out.size)
        )
    _vertices(ctx, (a, b, partials), extents, parts, depth_parts, name)
    if depth_parts > 1:
        each = 1 if ctx.granularity == "worker" else None
        flat = builder.reshape(out, (out.size,))
        add_partials(ctx, partials, flat, f"{name} reduce", each=each)
    return out


def _as_convolution(ctx: Context, a: Tensor, b: Tensor, name: str) -> Tensor:
    """Convolve images of one pixel, one for each row; batches are convolution groups."""
    *batch, rows, depth = a.shape
    columns, groups = b.shape[-1], math.prod(batch)
    x = ctx.builder.reshape(a, (groups, rows, depth)).transpose((1, 0, 2))
    weights = ctx.builder.reshape(b, (groups, depth, columns)).transpose((0, 2, 1))
    problem = Conv(rows, groups, columns, depth, ())
    made = convolve(ctx, problem, x, weights, name, Pass.PRODUCT)
    turned = made.transpose((1, 0, 2))
    return ctx.builder.reshape(turned, (*batch, rows, columns), name)


def _vertices(
    ctx: Context,
    tensors: tuple[Tensor, Tensor, Tensor],
    extents: Shape,
    parts: list[int],
    depth_parts: int,
    name: str,
) -> None:
    (va, vb, vo), dims = [t.view() for t in tensors], len(extents) - 3
    assert va is not None
    assert vb is not None
    assert vo is not None
    a_strides = [_stride(axis) for axis in va.axes]
    b_strides = [_stride(axis) for axis in vb.axes]
    o_strides = row_major(extents[:-1])
    # along [*batch, m, n, k]
    along_a = [*a_strides[:dims], a_strides[-2], 0, a_strides[-1]]
    along_b = [*b_strides[:dims], 0, b_strides[-1], b_strides[-2]]
    size = math.prod(extents[:-1])
    numbering = _numbering(parts)
    with ctx.builder.compute_set(name) as compute_set:
        for portion in _portions(ctx, extents, parts, depth_parts):
            batch, (m, n, k) = portion.shape[:dims], portion.shape[dims:]
            out_tables = [
                (axis.number if axis.number is not None else 0 * axis.begin) * size
                if axis.dim == len(extents) - 1
                else axis.begin * o_strides[axis.dim]
                for axis in portion.axes
            ]
            if depth_parts == 1:
                out_tables = [
                    t * 0 if x.dim == len(extents) - 1 else t
                    for t, x in zip(out_tables, portion.axes, strict=True)
                ]
            fields = {
                "a": _access(portion, va.variable, va.offset, along_a, (*batch, m, k), a_strides),
                "b": _access(portion, vb.variable, vb.offset, along_b, (*batch, k, n), b_strides),
                "out": Access(
                    vo.variable, separable(vo.offset, *out_tables), (*batch, m, n), tuple(o_strides)
                ),
            }
            tile = portion.numbers(numbering)
            if ctx.granularity == "fine":
                tile = _fine_tiles(portion, extents, parts, numbering)
            compute_set.add(
                MatMulPartial("HMAC", ctx.partials(tensors[0].itemsize)), tile, **fields
            )


def _numbering(parts: list[int]) -> list[int]:
    """Tile numbers along [*batch, m, n, k]: columns innermost, so that a pair shares its rows.

    Source: PopLibs Convolution.cpp, where output channels are innermost.
    """
    *outer, of_depth, of_columns = row_major([*parts[:-2], parts[-1], parts[-2]])
    return [*outer, of_columns, of_depth]


def _access(
    portion: Portion,
    variable: int,
    offset: int,
    along: list[int],
    window: Shape,
    strides: list[int],
) -> Access:
    tables = [axis.begin * along[axis.dim] for axis in portion.axes]
    return Access(variable, separable(offset, *tables), window, tuple(strides))


def _portions(
    ctx: Context, extents: Shape, parts: list[int], depth_parts: int
) -> Iterator[Portion]:
    dims = len(extents)
    grains = [1] * dims
    if ctx.granularity == "fine":
        yield from portions(
            extents, [*extents[:-1], depth_parts], [*grains[:-1], FINE_ELEMENTS], "tile"
        )
        return
    # 2017: a vertex for each output column and depth slice; it serves every row of the batch
    splits = [split_axis(n, p) for n, p in zip(extents, parts, strict=True)]
    for combination in itertools.product(*splits):
        axes = [GridAxis(d, p.begin, p.index) for d, p in enumerate(combination)]
        shape = [p.size for p in combination]
        columns = dims - 2
        axes.append(GridAxis(columns, np.arange(shape[columns], dtype=np.int64), None))
        shape[columns] = 1
        yield Portion(tuple(axes), tuple(shape))


def _fine_tiles(portion: Portion, extents: Shape, parts: list[int], numbering: list[int]) -> Any:
    """Keep every `fine` vertex on the tile whose share of the plan it belongs to."""
    tables = [
        np.minimum(axis.begin * parts[axis.dim] // extents[axis.dim], parts[axis.dim] - 1)
        * numbering[axis.dim]
        for axis in portion.axes
    ]
    return separable(0, *tables)


def _plan(ctx: Context, extents: Shape) -> list[int]:
    """Splits by the rules of 2017."""
    *batch, _, columns, depth = extents
    batch_parts, room = [], ctx.target.tiles
    for n in batch:
        batch_parts.append(min(n, room))
        room //= batch_parts[-1]
    slices, per_column = dense.plan(ctx.target, columns, depth, training=False)
    slices = min(slices, room)
    per_column = min(max(1, room // slices), columns)
    chosen = {"tiles per row": slices, "tiles per column": per_column}
    ctx.plan.update({"rules": "2017", "chosen": chosen})
    return [*batch_parts, 1, per_column, slices]


def _stride(axis: tuple[tuple[int, int], ...]) -> int:
    return (coalesce(axis) or ((1, 0),))[0][1]
