"""Reductions: over any axes, in one stage or two."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ipuc.codelets.define import Codelet
from ipuc.codelets.reduce import Reduce
from ipuc.planner.context import Context
from ipuc.planner.partials import add_partials
from ipuc.planner.popops.holdings import holdings
from ipuc.planner.popops.stages import Operand, Reduction
from ipuc.planner.portions import portions, row_major
from ipuc.planner.search import candidates, rank
from ipuc.program.builder import common_factors
from ipuc.program.family import Access, IndexMap
from ipuc.program.operand import gather
from ipuc.program.tensor import Tensor, View, fill, of_variable
from ipuc.program.variables import MIN_BYTES_PER_TILE
from ipuc.types import Shape


def reduce(
    ctx: Context,
    op: str,
    tensor: Tensor,
    axes: Sequence[int],
    name: str,
    *,
    square: bool = False,
    dtype: str | None = None,
) -> Tensor:
    """Combine the elements of some axes.

    Args:
        ctx: the lowering.
        op: a kind that `codelets.reduce` knows.
        tensor: what to reduce.
        axes: axes to combine, not negative; they keep extent 1 in the result.
        name: name of the result.
        square: square each element first.
        dtype: element type of the result; the operand's by default.

    Returns:
        A new row-major variable, shaped like the operand with extent 1 on `axes`; if there is
        nothing to combine, a fill of the operation's identity.
    """
    shape = tuple(1 if a in axes else n for a, n in enumerate(tensor.shape))
    kind = dtype or tensor.dtype
    if tensor.size == 0:
        return fill(identity(op, kind), shape, kind)
    kept = [a for a in range(len(tensor.shape)) if a not in axes]
    turned = tensor.transpose([*kept, *axes])
    view = turned.view()
    if view is None:
        view = ctx.builder.copy(turned, f"{name} operand").view()
    assert view is not None
    out = ctx.builder.variable(name, kind, shape)
    first = View(view.variable, view.offset, view.axes[: len(kept)])
    last = View(view.variable, view.offset, view.axes[len(kept) :])
    keep = common_factors([first]) or [(1, [0])]
    drop = common_factors([last]) or [(1, [0])]
    extents = tuple(n for n, _ in (*keep, *drop))
    strides = [s[0] for _, s in (*keep, *drop)]
    if ctx.granularity == "tile" and _as_popops(
        ctx, op, view, keep, drop, out, name, square=square
    ):
        return out
    _stages(ctx, op, view, extents, strides, len(keep), out, name, square)
    return out


def _as_popops(
    ctx: Context,
    op: str,
    view: View,
    keep: Sequence[tuple[int, list[int]]],
    drop: Sequence[tuple[int, list[int]]],
    out: Tensor,
    name: str,
    *,
    square: bool,
) -> bool:
    """Reduce what each tile holds, then between tiles; False if the operand does not allow it."""
    # What lies together is combined last: the order of rows is free.
    factors = [*keep, *sorted(drop, key=lambda factor: -abs(factor[1][0]))]
    extents, strides = tuple(n for n, _ in factors), tuple(s[0] for _, s in factors)
    variable = ctx.builder.variables[view.variable]
    places = ctx.builder.placed(of_variable(variable))
    if places is None:
        # As poputil::mapTensorLinearly, which is where a plain tensor lies.
        grain = ctx.target.vector_width(variable.itemsize)
        ctx.builder.map_linear(of_variable(variable), grain)
        places = variable.mapped()
    tiles = places.dense(variable.size) - ctx.builder.first_tile
    if tiles.min() < 0 or tiles.max() >= ctx.target.tiles:
        return False  # on another IPU
    operand = Operand(
        view.variable, variable.dtype, view.offset, extents, strides, len(keep), tiles
    )
    access = Access(view.variable, IndexMap(view.offset), extents, strides)
    held = holdings(gather(access, tiles.astype(np.int32)), len(keep))
    if held is None:
        return False
    wide = op in ("sum", "prod") and out.dtype == "float16"
    made = Reduction(ctx, name, op, square, "float32" if wide else out.dtype, out)
    if not made.run(operand, held):
        return False
    made.note()
    return True


def identity(op: str, dtype: str) -> float:
    """What a reduction of no elements gives."""
    if op in ("max", "min"):
        low = op == "max"
        if dtype == "bool":
            return float(not low)
        if dtype.startswith("float"):
            return -math.inf if low else math.inf
        limits = np.iinfo(dtype)
        return float(limits.min if low else limits.max)
    return {"sum": 0.0, "or": 0.0, "prod": 1.0, "and": 1.0}[op]


def _stages(
    ctx: Context,
    op: str,
    view: View,
    extents: Shape,
    strides: Sequence[int],
    kept: int,
    out: Tensor,
    name: str,
    square: bool,
) -> None:
    """One stage, or partials over a split of the reduced dimensions and a second stage."""
    codelet = Reduce(op, len(extents) - kept, square)
    wide = op in ("sum", "prod") and out.dtype == "float16"
    parts, grains = _split(ctx, codelet, extents, kept, out.itemsize)
    slices = math.prod(parts[kept:])
    target_view = out.view()
    assert target_view is not None
    size = math.prod(extents[:kept])
    partials = out
    if slices > 1:
        kind = "float32" if wide else out.dtype
        partials = ctx.builder.variable(f"{name} partials", kind, (slices, size))
    into = partials.view()
    assert into is not None
    rows = row_major(extents[:kept])
    numbers, slice_numbers = row_major(parts), row_major(parts[kept:])
    with ctx.builder.compute_set(name) as compute_set:
        for portion in portions(
            extents, parts, grains, ctx.granularity, ctx.target.worker_contexts, range(kept)
        ):
            offset = portion.numbers([0] * kept + [n * size for n in slice_numbers], into.offset)
            tables = [
                table + (axis.begin * rows[axis.dim] if axis.dim < kept else 0)
                for table, axis in zip(offset.tables, portion.axes, strict=True)
            ]
            compute_set.add(
                codelet,
                portion.numbers(numbers),
                x=portion.access(view.variable, view.offset, strides),
                out=ctx.builder.field(partials, tables, portion.shape[:kept], rows),
            )
    if slices > 1:
        if op == "sum" and partials.dtype == "float32":
            add_partials(ctx, partials, out, f"{name} combine")
        else:
            both = View(into.variable, 0, (((size, 1),), ((slices, size),)))
            _stages(
                ctx, op, both, (size, slices), (1, size), 1, out, f"{name} combine", square=False
            )


def _split(
    ctx: Context, codelet: Codelet, extents: Shape, kept: int, itemsize: int
) -> tuple[list[int], list[int]]:
    """Cheapest parts: the first stage, the exchange of its partials, and a second stage."""
    target = ctx.target
    grains = [1] * len(extents)
    key: Any = ("reduce", codelet, extents, kept, itemsize)
    if key not in ctx.plans:
        table = candidates(extents, target.tiles)
        window = tuple(-(-n // table[:, d]) for d, n in enumerate(extents))
        windows = {"x": window, "out": window[:kept]}
        cycles = np.asarray(codelet.cycles(target, windows, itemsize))
        slices = np.prod(table[:, kept:], axis=1)
        outputs = math.prod(extents[:kept])
        share = -(-outputs // np.minimum(target.tiles, max(1, outputs)))
        bytes_in = share * slices * itemsize
        second = -(-bytes_in // target.exchange_bytes_per_cycle) + np.asarray(
            Reduce("sum", 1).cycles(target, {"x": (share, slices), "out": (share,)}, itemsize)
        )
        bytes_per_tile = np.prod(np.stack(window), axis=0) * itemsize
        cycles = cycles + np.where(slices > 1, second + target.sync_cycles, 0)
        small = (bytes_per_tile < MIN_BYTES_PER_TILE) & (np.prod(table, axis=1) > 1)
        best = rank([small, cycles, np.prod(table, axis=1)])[0]
        ctx.plans[key] = [int(p) for p in table[best]]
    return ctx.plans[key], grains
