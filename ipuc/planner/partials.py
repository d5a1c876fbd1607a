"""Adding up partial sums, in one, two or three stages."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ipuc.codelets.cycles.move import reduction_stages
from ipuc.codelets.reduce_add import ReduceAdd
from ipuc.planner.context import Context
from ipuc.planner.plan import exchange_cycles
from ipuc.planner.portions import GridAxis, Portion, portions
from ipuc.planner.worst import part_sizes
from ipuc.program.builder import ComputeSetBuilder
from ipuc.program.family import IndexMap, separable
from ipuc.program.split import split_axis
from ipuc.program.tensor import Tensor, coalesce
from ipuc.target import Target
from ipuc.types import Ints, Shape


def add_partials(
    ctx: Context, partials: Tensor, out: Tensor, name: str, *, each: int | None = None
) -> None:
    """Add a [D, n] variable of partials along D into `out`.

    The outputs are spread over all tiles in order; each tile fetches its pieces. Many partials are
    added in stages, so that no tile hears from too many others.

    Args:
        ctx: the lowering.
        partials: [D, n], row-major, of two partials or more.
        out: n elements, row-major.
        name: of the compute set.
        each: outputs of one vertex; by default what the granularity says.

    Source: PopLibs poplin ConvReducePlan.cpp for the stages.
    """
    depth, size = partials.shape
    stages = [depth]
    if ctx.granularity == "tile":
        stages = _stages(ctx.target, depth)
    for number, stage in enumerate(stages[:-1]):
        rows = -(-partials.shape[0] // stage)
        fewer = ctx.builder.variable(f"{name} stage {number + 1}", partials.dtype, (rows, size))
        _stage(ctx, partials, fewer, f"{name} {number + 1}")
        partials = fewer
    into = out
    if len(_flat(out)) > 1:
        into = ctx.builder.variable(f"{name} sum", out.dtype, (size,))
    _last(ctx, partials, into, name, each)
    if into is not out:
        ctx.builder.copy_into(out, ctx.builder.reshape(into, out.shape), name)


def partials_costs(
    target: Target, depth: int, outputs: int, made: int, itemsize: int, partials: str
) -> dict[str, int]:
    """Cycles of `add_partials` at granularity `tile`.

    Args:
        target: the machine.
        depth: partials of each output.
        outputs: elements of the sum.
        made: partials that the fullest tile has made, and sends.
        itemsize: of the sum.
        partials: their element type.
    """
    size = np.dtype(partials).itemsize
    if depth == 1:
        return {}
    stages = _stages(target, depth)
    exchanged, reduced, left = 0, 0, depth
    for number, stage in enumerate(stages):
        last = number == len(stages) - 1
        rows = 1 if last else -(-left // stage)
        grain = target.vector_width(size)
        parts = min(max(target.tiles // rows, 1), -(-outputs // grain))
        shares = {int(n) for n in part_sizes(outputs, parts, grain)}
        deepest = -(-left // rows)
        kind = itemsize if last else size
        for_windows = ({"partials": (deepest, n), "out": (n,)} for n in shares)
        reduced += max(
            int(ReduceAdd(partials).cycles(target, windows, kind)) for windows in for_windows
        )
        received = deepest * max(shares)
        exchanged += int(
            exchange_cycles(max(received, made) * size, target.exchange_bytes_per_cycle)
        )
        made, left = max(shares), rows
    return {
        "partials exchange": exchanged,
        "reduce": reduced,
        "sync": target.sync_cycles * len(stages),
    }


def _stages(target: Target, depth: int) -> list[int]:
    """Partials that each stage adds to one."""
    found = [int(n) for n in reduction_stages(target.tiles)[depth] if n > 1]
    return found or [depth]


def _stage(ctx: Context, partials: Tensor, fewer: Tensor, name: str) -> None:
    """Add groups of rows of [D, n] into the rows of [E, n]."""
    (depth, size), rows = partials.shape, fewer.shape[0]
    grain = ctx.target.vector_width(partials.itemsize)
    parts = min(max(ctx.target.tiles // rows, 1), -(-size // grain))
    with ctx.builder.compute_set(name) as compute_set:
        for group in split_axis(depth, rows):
            for share in split_axis(size, parts, grain):
                _add(
                    ctx,
                    compute_set,
                    separable(0, group.index * parts, share.index),
                    (partials, [group.begin * size, share.begin], (group.size, share.size)),
                    (fewer, [group.index * size, share.begin], 1),
                )


def _last(ctx: Context, partials: Tensor, out: Tensor, name: str, each: int | None) -> None:
    depth, size = partials.shape
    grain = ctx.target.vector_width(partials.itemsize)
    parts = min(ctx.target.tiles, -(-size // grain))
    step = (_flat(out) or ((1, 1),))[0][1]
    with ctx.builder.compute_set(name) as compute_set:
        for portion in _output_portions(ctx, size, parts, grain, each):
            tables = [axis.begin for axis in portion.axes]
            _add(
                ctx,
                compute_set,
                portion.numbers([1]),
                (partials, tables, (depth, *portion.shape)),
                (out, [table * step for table in tables], step),
            )


def _add(
    ctx: Context,
    compute_set: ComputeSetBuilder,
    tile: IndexMap,
    partials: tuple[Tensor, list[Ints], Shape],
    out: tuple[Tensor, list[Ints], int],
) -> None:
    """Add one family: partials with their windows [D, n], and where the sums go."""
    source, begins, (depth, count) = partials
    into, places, step = out
    rows = ctx.builder.field(source, begins, (depth, count), (source.shape[1], 1))
    made = ctx.builder.field(into, places, (count,), (step,))
    compute_set.add(ReduceAdd(source.dtype), tile, partials=rows, out=made)


def _flat(tensor: Tensor) -> tuple[tuple[int, int], ...]:
    """Factors of all elements in row-major order, as few as possible."""
    view = tensor.view()
    assert view is not None
    return coalesce(tuple(factor for axis in view.axes for factor in axis))


def _output_portions(
    ctx: Context, size: int, parts: int, grain: int, each: int | None
) -> Iterator[Portion]:
    workers = ctx.target.worker_contexts
    if each is None:
        yield from portions((size,), [parts], [grain], ctx.granularity, workers)
        return
    for portion in portions((size,), [parts], [grain], "tile", workers):
        for inner in split_axis(portion.shape[0], -(-portion.shape[0] // each), each):
            extra = GridAxis(0, inner.begin, None)
            yield Portion((*portion.axes, extra), (inner.size,))
