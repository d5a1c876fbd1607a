"""Slices picked from a table, or added to it: by indices known when compiled, or only when run."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ipuc.codelets.gather import Gather
from ipuc.codelets.multi_slice import MultiSlice
from ipuc.codelets.multi_update_add import MultiUpdateAdd
from ipuc.errors import ValueRangeError
from ipuc.planner.context import Context
from ipuc.planner.portions import Portion, portions, row_major
from ipuc.planner.reduction import reduce
from ipuc.planner.search import candidates, rank
from ipuc.program.builder import common_factors
from ipuc.program.family import Access, separable
from ipuc.program.split import bounds
from ipuc.program.tensor import Tensor, View, coalesce, fill
from ipuc.types import Ints, Shape

#: Share of a tile's memory that its part of a table may take (PopLibs' default proportion).
TABLE_SHARE = 0.6


@dataclass(frozen=True, slots=True)
class _Table:
    """A table and the result, seen along the same dimensions.

    Attributes:
        base: the table.
        rows: slices in it.
        row_stride: elements from one slice to the next.
        out_stride: the same in the result.
        extents: dimensions of one slice.
        strides: of each dimension, in the table.
        out_strides: of each dimension, in the result.
        itemsize: bytes of an element.
    """

    base: View
    rows: int
    row_stride: int
    out_stride: int
    extents: Shape
    strides: tuple[int, ...]
    out_strides: tuple[int, ...]
    itemsize: int


def _align(ctx: Context, tensor: Tensor, axis: int, out: Tensor) -> _Table:
    view = tensor.view()
    if view is None or len(coalesce(view.axes[axis])) > 1:
        view = ctx.builder.copy(tensor, "gather table").view()
    into = out.view()
    assert view is not None
    assert into is not None
    rest = [View(v.variable, v.offset, v.axes[:axis] + v.axes[axis + 1 :]) for v in (view, into)]
    factors = common_factors(rest) or [(1, [0, 0])]
    (_, row_stride) = (coalesce(view.axes[axis]) or ((1, 0),))[0]
    (_, out_stride) = (coalesce(into.axes[axis]) or ((1, 0),))[0]
    return _Table(
        view,
        tensor.shape[axis],
        row_stride,
        out_stride,
        tuple(n for n, _ in factors),
        tuple(s[0] for _, s in factors),
        tuple(s[1] for _, s in factors),
        tensor.itemsize,
    )


def _result(ctx: Context, tensor: Tensor, axis: int, count: int, name: str) -> Tensor:
    shape = (*tensor.shape[:axis], count, *tensor.shape[axis + 1 :])
    return ctx.builder.variable(name, tensor.dtype, shape)


def positions(indices: NDArray[Any], extent: int, where: str) -> Ints:
    """Hold constant indices to their range, and count them from the front: int64[n].

    Raises:
        ValueRangeError: an index is outside the axis.
    """
    flat = indices.reshape(-1).astype(np.int64)
    wrong = (flat < -extent) | (flat >= extent)
    if wrong.any():
        raise ValueRangeError(
            f"index {int(flat[np.argmax(wrong)])} is outside an axis of extent {extent}",
            where=where,
            fix=f"use indices from {-extent} to {extent - 1}",
        )
    return np.where(flat < 0, flat + extent, flat)


def pick(ctx: Context, tensor: Tensor, axis: int, indices: Ints, name: str) -> Tensor:
    """Pick slices of an axis by constant indices: a vertex for each, or several.

    Args:
        ctx: the lowering.
        tensor: the table.
        axis: where its slices are numbered, not negative.
        indices: int64[n], not negative.
        name: name of the result.

    Returns:
        A new row-major variable with n slices on the axis.
    """
    count = len(indices)
    out = _result(ctx, tensor, axis, count, name)
    if out.size == 0:
        return out
    table = _align(ctx, tensor, axis, out)
    into = out.view()
    assert into is not None
    parts = _pick_parts(ctx, table, count)
    edges = bounds(count, parts[0])
    tile = np.repeat(np.arange(parts[0]), np.diff(edges)) * math.prod(parts[1:])
    numbers = row_major(parts[1:])
    # Slices enough for all workers of a tile need no further cutting.
    busy = ctx.granularity == "worker" and count >= parts[0] * ctx.target.worker_contexts
    with ctx.builder.compute_set(name) as compute_set:
        for portion in portions(
            table.extents,
            parts[1:],
            [1] * len(table.extents),
            "tile" if busy else ctx.granularity,
            ctx.target.worker_contexts,
        ):
            compute_set.add(
                Gather(),
                separable(0, tile, *portion.numbers(numbers).tables),
                x=_slices(table.base, indices * table.row_stride, portion, table.strides),
                out=_slices(into, np.arange(count) * table.out_stride, portion, table.out_strides),
            )
    return out


def _slices(view: View, begins: Ints, portion: Portion, strides: tuple[int, ...]) -> Access:
    """One slice for each position of a new first grid axis."""
    tables = portion.access(view.variable, view.offset, strides).offset.tables
    return Access(view.variable, separable(view.offset, begins, *tables), portion.shape, strides)


def _pick_parts(ctx: Context, table: _Table, count: int) -> list[int]:
    key = ("pick", table.extents, count, table.itemsize)
    if key not in ctx.plans:
        splits = candidates((count, *table.extents), ctx.target.tiles)
        window = tuple(-(-n // splits[:, d + 1]) for d, n in enumerate(table.extents))
        each = Gather().cycles(ctx.target, {"out": window}, table.itemsize)
        cycles = -(-count // splits[:, 0]) * each
        best = rank([cycles, np.prod(splits, axis=1)])[0]
        ctx.plans[key] = [int(p) for p in splits[best]]
    return list(ctx.plans[key])


def look_up(ctx: Context, tensor: Tensor, axis: int, offsets: Tensor, name: str) -> Tensor:
    """Pick slices of an axis by indices that only the run knows.

    Every vertex holds its columns of the table and looks its share of the indices up. A table
    whose columns do not fit a tile is split by rows too: then each part writes its hits among
    zeros, and a second stage adds the parts.

    Args:
        ctx: the lowering.
        tensor: the table; its axis is not empty.
        axis: where its slices are numbered, not negative.
        offsets: int32, any shape of n elements.
        name: name of the result.

    Returns:
        A new row-major variable with n slices on the axis.
    """
    count = offsets.size
    out = _result(ctx, tensor, axis, count, name)
    if out.size == 0:
        return out
    table = _align(ctx, tensor, axis, out)
    flat = ctx.builder.solid(ctx.builder.reshape(offsets, (count,), f"{name} indices"))
    where = flat.view()
    assert where is not None
    rows, parts = _look_up_parts(ctx, table, count)
    edges = bounds(table.rows, rows)
    partials = (
        out
        if rows == 1
        else ctx.builder.variable(f"{name} partials", out.dtype, (rows, *out.shape))
    )
    into = partials.view()
    assert into is not None
    with ctx.builder.compute_set(name) as compute_set:
        for part in range(rows):
            first, held = int(edges[part]), int(edges[part + 1] - edges[part])
            codelet = MultiSlice() if rows == 1 else MultiSlice(first, table.rows)
            extents = (count, *table.extents)
            for portion in portions(
                extents, parts, _grains(table), ctx.granularity, ctx.target.worker_contexts
            ):
                base = portion.access(
                    table.base.variable,
                    table.base.offset + first * table.row_stride,
                    (0, *table.strides),
                )
                indices = portion.access(
                    where.variable, where.offset, (where.axes[0][0][1], *(0 for _ in table.extents))
                )
                compute_set.add(
                    codelet,
                    portion.numbers(row_major(parts), part * math.prod(parts)),
                    base=Access(
                        base.variable,
                        base.offset,
                        (held, *portion.shape[1:]),
                        (table.row_stride, *table.strides),
                    ),
                    offsets=Access(
                        indices.variable, indices.offset, portion.shape[:1], indices.strides[:1]
                    ),
                    out=portion.access(
                        into.variable,
                        into.offset + part * out.size,
                        (table.out_stride, *table.out_strides),
                    ),
                )
    if rows == 1:
        return out
    op = "or" if out.dtype == "bool" else "sum"
    made = reduce(ctx, op, partials, [0], name).reshape(out.shape)
    assert made is not None
    return made


def add_up(
    ctx: Context, updates: Tensor, axis: int, offsets: Tensor, rows: int, name: str
) -> Tensor:
    """Add slices of an axis to zeros, each where its index says: the gradient of `look_up`.

    Every vertex holds its columns of the table and adds its columns of all slices. A table whose
    columns do not fit a tile is split by rows too.

    Args:
        ctx: the lowering.
        updates: n slices on the axis.
        axis: where they are numbered, not negative.
        offsets: int32, any shape of n elements.
        rows: slices of the result.
        name: name of the result.

    Returns:
        A new row-major variable with `rows` slices on the axis; in float32, also of halves.
    """
    shape = (*updates.shape[:axis], rows, *updates.shape[axis + 1 :])
    kind = "float32" if updates.dtype == "float16" else updates.dtype
    if math.prod(shape) == 0 or updates.size == 0:
        return fill(0.0, shape, kind)
    out = ctx.builder.variable(name, kind, shape)
    count = updates.shape[axis]
    flat = ctx.builder.solid(ctx.builder.reshape(offsets, (count,), f"{name} indices"))
    where, source = flat.view(), ctx.builder.solid(updates)
    assert where is not None
    table = _align(ctx, out, axis, source)
    added = source.view()
    assert added is not None
    held, parts = _add_up_parts(ctx, table, count)
    edges = bounds(rows, held)
    ctx.builder.copy_into(out, fill(0.0, shape, kind), f"{name} zeros")
    with ctx.builder.compute_set(name) as compute_set:
        for part in range(held):
            first, own = int(edges[part]), int(edges[part + 1] - edges[part])
            for portion in portions(
                table.extents,
                parts,
                _grains(table)[1:],
                ctx.granularity,
                ctx.target.worker_contexts,
            ):
                base = portion.access(
                    table.base.variable,
                    table.base.offset + first * table.row_stride,
                    table.strides,
                )
                slices = portion.access(added.variable, added.offset, table.out_strides)
                still = separable(where.offset, *(np.zeros_like(a.begin) for a in portion.axes))
                compute_set.add(
                    MultiUpdateAdd() if held == 1 else MultiUpdateAdd(first, rows),
                    portion.numbers(row_major(parts), part * math.prod(parts)),
                    base=Access(
                        base.variable,
                        base.offset,
                        (own, *portion.shape),
                        (table.row_stride, *table.strides),
                    ),
                    offsets=Access(where.variable, still, (count,), (where.axes[0][0][1],)),
                    updates=Access(
                        slices.variable,
                        slices.offset,
                        (count, *portion.shape),
                        (table.out_stride, *table.out_strides),
                    ),
                )
    return out


def _add_up_parts(ctx: Context, table: _Table, count: int) -> tuple[int, list[int]]:
    """Splits of the rows, and of the dimensions of a slice."""
    target, grains = ctx.target, _grains(table)[1:]
    limit = int(TABLE_SHARE * target.tile_memory_bytes)
    counts = [-(-n // g) for n, g in zip(table.extents, grains, strict=True)]
    whole = (table.rows + count) * table.itemsize * math.prod(grains)
    rows = min(table.rows, target.tiles, max(1, -(-whole // limit)))
    key = ("add up", table.rows, rows, table.extents, count, table.itemsize)
    if key not in ctx.plans:
        splits = candidates(counts, target.tiles // rows)
        window = tuple(
            np.minimum(-(-counts[d] // splits[:, d]) * grains[d], n)
            for d, n in enumerate(table.extents)
        )
        held = -(-table.rows // rows)
        each = np.prod(np.stack(window), axis=0) * table.itemsize
        windows = {
            "base": (held, *window),
            "offsets": (count,),
            "updates": (count, *window),
        }
        cycles = MultiUpdateAdd(0, table.rows).cycles(target, windows, table.itemsize)
        exchange = -(-each * count // target.exchange_bytes_per_cycle)
        over = each * (held + count) > limit
        best = rank([over, cycles + exchange, np.prod(splits, axis=1)])[0]
        ctx.plans[key] = [int(p) for p in splits[best]]
    return rows, list(ctx.plans[key])


def _grains(table: _Table) -> list[int]:
    """Elements that stay together: 8 bytes of a slice (PopLibs DynamicSlice.cpp)."""
    return [1] * len(table.extents) + [max(1, 8 // table.itemsize)]


def _look_up_parts(ctx: Context, table: _Table, count: int) -> tuple[int, list[int]]:
    """Splits of the rows, and of the indices and the dimensions of a slice."""
    target = ctx.target
    grains = _grains(table)
    limit = int(TABLE_SHARE * target.tile_memory_bytes)
    counts = [count, *(-(-n // g) for n, g in zip(table.extents, grains[1:], strict=True))]
    whole = table.rows * table.itemsize * math.prod(grains[1:])
    rows = min(table.rows, target.tiles, max(1, -(-whole // limit)))
    key = ("look up", table.rows, rows, table.extents, count, table.itemsize)
    if key not in ctx.plans:
        splits = candidates(counts, target.tiles // rows)
        window = tuple(
            np.minimum(-(-counts[d] // splits[:, d]) * grains[d], n)
            for d, n in enumerate((count, *table.extents))
        )
        held = -(-table.rows // rows)
        base = (held, *window[1:])
        moved = np.prod(np.stack(window[1:]), axis=0) * held * table.itemsize
        codelet = MultiSlice(0, table.rows)
        cycles = codelet.cycles(
            target, {"base": base, "offsets": window[:1], "out": window}, table.itemsize
        )
        exchange = -(-moved // target.exchange_bytes_per_cycle)
        best = rank([moved > limit, cycles + exchange, np.prod(splits, axis=1)])[0]
        ctx.plans[key] = [int(p) for p in splits[best]]
    return rows, list(ctx.plans[key])
