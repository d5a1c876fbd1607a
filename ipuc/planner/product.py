"""Matrix products: batches, rows, columns and depth split over tiles."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from ipuc.codelets.matmul_partial import MatMulPartial
from ipuc.planner.context import Context
from ipuc.planner.plan import Table, exchange_cycles, products
from ipuc.planner.portions import FINE_ELEMENTS, GridAxis, Portion, portions, row_major
from ipuc.planner.reduction import add_partials, partials_costs
from ipuc.planner.search import candidates
from ipuc.planner.worker2017 import fully_connected_splits
from ipuc.planner.worst import dearest, fullest, part_sizes
from ipuc.program.family import Access, separable
from ipuc.program.split import split_axis
from ipuc.program.tensor import Tensor, coalesce
from ipuc.types import Ints, Shape

METHODS = ("mac", "amp")


def multiply(ctx: Context, a: Tensor, b: Tensor, name: str) -> Tensor:
    """Add the vertices of a matrix product.

    Args:
        ctx: the lowering.
        a: [*batch, m, k].
        b: [*batch, k, n], the same batch shape (broadcast views are free).
        name: name of the result.

    Returns:
        A new row-major variable [*batch, m, n], element type of `a`.
    """
    builder = ctx.builder
    a, b = builder.solid(a, f"{name} left"), builder.solid(b, f"{name} right")
    shape = (*a.shape[:-1], b.shape[-1])
    out = builder.variable(name, a.dtype, shape)
    extents = (*shape, a.shape[-1])
    if 0 in extents:
        builder.copy_into(out, ctx.scalar(0.0, a.dtype, shape), name)
        return out
    weights = builder.one_view(b).variable in builder.constants
    parts, method = _plan(ctx, extents, a.itemsize, weights=weights)
    depth_parts = parts[-1]
    if ctx.granularity == "fine":
        depth_parts = -(-extents[-1] // FINE_ELEMENTS)
    partials = out
    if depth_parts > 1:
        partials = builder.variable(
            f"{name} partials", ctx.partials(a.itemsize), (depth_parts, out.size)
        )
    _vertices(ctx, (a, b, partials), extents, parts, depth_parts, method, name)
    if depth_parts > 1:
        each = 1 if ctx.granularity == "worker" else None
        add_partials(ctx, partials, out, f"{name} reduce", each=each)
    return out


def _vertices(
    ctx: Context,
    tensors: tuple[Tensor, Tensor, Tensor],
    extents: Shape,
    parts: list[int],
    depth_parts: int,
    method: str,
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
        if method == "amp":
            compute_set.workers = "all"  # the matrix unit serves all workers together
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
                MatMulPartial(method, ctx.partials(tensors[0].itemsize)), tile, **fields
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
    if ctx.granularity == "tile":
        yield from portions(extents, parts, grains, "tile")
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


def _plan(
    ctx: Context, extents: Shape, itemsize: int, *, weights: bool = False
) -> tuple[list[int], str]:
    """Splits and method; `weights`: the right operand is constant and lies where it is used."""
    worker = ctx.granularity == "worker"
    key = ("product", extents, itemsize, ctx.partials(itemsize), worker, weights)
    if key not in ctx.plans:
        if ctx.granularity == "worker":
            ctx.plans[key] = _plan_2017(ctx, extents)
        else:
            ctx.plans[key] = _cheapest(ctx, extents, itemsize, weights)
    (parts, method), record = ctx.plans[key]
    ctx.plan.update(record)
    return list(parts), method


def _plan_2017(ctx: Context, extents: Shape) -> tuple[tuple[list[int], str], dict[str, Any]]:
    *batch, _, columns, depth = extents
    batch_parts, room = [], ctx.target.tiles
    for n in batch:
        batch_parts.append(min(n, room))
        room //= batch_parts[-1]
    slices, per_column = fully_connected_splits(ctx.target, columns, depth)
    slices = min(slices, room)
    per_column = min(max(1, room // slices), columns)
    record = {
        "rules": "2017",
        "chosen": {"tiles per row": slices, "tiles per column": per_column},
    }
    return ([*batch_parts, 1, per_column, slices], "mac"), record


def _cheapest(
    ctx: Context, extents: Shape, itemsize: int, weights: bool
) -> tuple[tuple[list[int], str], dict[str, Any]]:
    """Enumerate splits for both methods and take the cheapest; source: PopLibs ConvModel.cpp."""
    target = ctx.target
    splits = candidates(extents, target.tiles)
    used = np.prod(splits, axis=1)
    splits = splits[used >= min(int(used.max()), target.tiles // 4)]
    rows = len(splits)
    block = [fullest(n, splits[:, d]) for d, n in enumerate(extents)]
    *batch, m, n, k = block
    left, right, made = (products([*batch, *x]) for x in ((m, k), (k, n), (m, n)))
    by_rows, by_columns, depth = splits[:, -3], splits[:, -2], splits[:, -1]
    rate = target.exchange_bytes_per_cycle
    bus = target.tiles_per_exchange_bus
    pair = np.where(by_columns % bus == 0, bus, 1)
    # Activations lie where the layer before made them: nothing of them counts as local. Weights
    # are spread over the tiles that share them, over those of the first family alone where rows
    # split unevenly: then the fullest tile holds none of its own.
    even = extents[-3] % by_rows == 0
    held = np.where(even | (by_rows == 1), right // by_rows, 0) if weights else 0
    common = {
        "left exchange": exchange_cycles(left * itemsize, rate * pair),
        "right exchange": exchange_cycles((right - held) * itemsize, rate),
        **partials_costs(
            target, depth, math.prod(extents[:-1]), made, itemsize, ctx.partials(itemsize)
        ),
    }
    costs = {name: np.concatenate([cost] * len(METHODS)) for name, cost in common.items()}
    costs["compute"] = np.concatenate([_compute(ctx, x, block, itemsize) for x in METHODS])
    work = np.tile(products(block) * float(target.tiles) / math.prod(extents), len(METHODS))
    names = np.repeat(np.array(METHODS), rows)
    dims = (*(f"batch{d}" for d in range(len(batch))), "rows", "columns", "depth")
    table = np.concatenate([splits] * len(METHODS))

    def exact(asked: Ints) -> dict[str, Any]:
        sizes = [part_sizes(n, table[asked, d]) for d, n in enumerate(extents)]
        by_method = [
            dearest(sizes, partial(_compute, ctx, method, itemsize=itemsize)) for method in METHODS
        ]
        return {"compute": np.choose(asked // rows, by_method)}

    everything = Table(dims, table, costs, work, {"method": names})
    row, record = everything.choose(target.tiles, exact=exact)
    return ([int(p) for p in table[row]], str(names[row])), record


def _compute(ctx: Context, method: str, block: Sequence[Any], itemsize: int) -> Any:
    """Cycles of a tile, for columns of [*batch, rows, columns, depth]."""
    *batch, m, n, k = block
    windows = {"a": (*batch, m, k), "b": (*batch, k, n), "out": (*batch, m, n)}
    codelet = MatMulPartial(method, ctx.partials(itemsize))
    return np.asarray(codelet.cycles(ctx.target, windows, itemsize))


def _stride(axis: tuple[tuple[int, int], ...]) -> int:
    return (coalesce(axis) or ((1, 0),))[0][1]
