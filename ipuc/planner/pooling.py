"""Pooling: batches, channels and outputs split over tiles; the kernel is not."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ipuc.codelets.define import Codelet
from ipuc.planner.context import Context
from ipuc.planner.plan import Table, exchange_cycles, products
from ipuc.planner.portions import row_major
from ipuc.planner.search import candidates
from ipuc.planner.window import Slide, SlideParts, slide_parts
from ipuc.planner.worst import dearest, fullest, part_sizes
from ipuc.program.family import Access, separable
from ipuc.program.split import split_axis
from ipuc.program.tensor import Tensor, View, coalesce
from ipuc.types import Ints, Shape

#: Channels of one vertex where every output pixel has its own (PopLibs, early 2017).
CHANNEL_GROUP = 16

#: Makes the codelet of a block from its parts along the field dimensions.
MakeCodelet = Callable[[Sequence[SlideParts]], Codelet]


def pool(
    ctx: Context,
    operands: Mapping[str, Tensor],
    slides: tuple[Slide, ...],
    make: MakeCodelet,
    dtype: str,
    name: str,
) -> Tensor:
    """Add the vertices of a pooling.

    Args:
        ctx: the lowering.
        operands: inputs by field name, each [batch, channels, *field].
        slides: one per field dimension.
        make: the codelet for a block, from its border.
        dtype: element type of the result.
        name: name of the result.

    Returns:
        A new row-major variable [batch, channels, *out].
    """
    solid = {
        field: ctx.builder.solid(tensor, f"{name} {field}") for field, tensor in operands.items()
    }
    x = next(iter(solid.values()))
    shape = (*x.shape[:2], *(s.out for s in slides))
    out = ctx.builder.variable(name, dtype, shape)
    if out.size == 0:
        return out
    into = ctx.builder.one_view(out)
    splits = _plan(ctx, x, slides, make(_middle(slides)))
    numbering = row_major(splits)
    fields = list(splits[2:])
    channel_parts = split_axis(x.shape[1], splits[1])
    if ctx.granularity != "tile":  # one vertex per output and group of channels
        fields = [s.out for s in slides]
        groups = -(-x.shape[1] // CHANNEL_GROUP)
        channel_parts = split_axis(x.shape[1], groups, CHANNEL_GROUP)
    with ctx.builder.compute_set(name) as compute_set:
        field_parts = [slide_parts(s, n) for s, n in zip(slides, fields, strict=True)]
        for (batch, channels), field in itertools.product(
            itertools.product(split_axis(x.shape[0], splits[0]), channel_parts),
            itertools.product(*field_parts),
        ):
            lead = (batch, channels)
            begins = [p.begin for p in lead]
            x_tables = [*begins, *(f.in_begin for f in field)]
            o_tables = [*begins, *(f.out_begin for f in field)]
            tile = [
                table * splits[d] // shape[d] * numbering[d] for d, table in enumerate(o_tables)
            ]
            if ctx.granularity == "tile":
                numbers = [*(p.index for p in lead), *(f.index for f in field)]
                tile = [n * stride for n, stride in zip(numbers, numbering, strict=True)]
            sizes = (batch.size, channels.size)
            taken = (*sizes, *(f.in_size for f in field))
            made = (*sizes, *(f.out_size for f in field))
            accesses = {
                key: _block(ctx.builder.one_view(tensor), x_tables, taken)
                for key, tensor in solid.items()
            }
            accesses["out"] = _block(into, o_tables, made)
            compute_set.add(make(field), separable(0, *tile), **accesses)
    return out


def _block(view: View, begins: Sequence[Ints], shape: Shape) -> Access:
    strides = [(coalesce(axis) or ((1, 0),))[0][1] for axis in view.axes]
    tables = [begin * stride for begin, stride in zip(begins, strides, strict=True)]
    return Access(view.variable, separable(view.offset, *tables), shape, tuple(strides))


def _middle(slides: Sequence[Slide]) -> list[SlideParts]:
    """A block away from every border, for costing."""
    one = np.zeros(1, np.int64)
    return [SlideParts(one, one, s.out, one, s.field, (0, 0)) for s in slides]


def _plan(ctx: Context, x: Tensor, slides: tuple[Slide, ...], codelet: Codelet) -> list[int]:
    """Splits of batch, channels and each field dimension: fewest cycles."""
    extents: Shape = (*x.shape[:2], *(s.out for s in slides))
    key = ("pool", codelet, extents, slides, x.itemsize)
    if key not in ctx.plans:
        target = ctx.target
        table = candidates(extents, target.tiles)
        used = np.prod(table, axis=1)
        table = table[used >= min(int(used.max()), target.tiles // 4)]
        block = [fullest(n, table[:, d]) for d, n in enumerate(extents)]
        reach = [s.reach(block[2 + d]) for d, s in enumerate(slides)]
        taken = products([*block[:2], *reach]) * x.itemsize

        def compute(sizes: Sequence[Any]) -> Any:
            windows = {"out": tuple(sizes)}
            return np.asarray(codelet.cycles(target, windows, x.itemsize))

        def exact(rows: Ints) -> dict[str, Any]:
            sizes = [part_sizes(n, table[rows, d]) for d, n in enumerate(extents)]
            return {"compute": dearest(sizes, compute)}

        costs = {
            "input exchange": exchange_cycles(taken, target.exchange_bytes_per_cycle),
            "compute": compute(block),
        }
        work = products(block) * float(target.tiles) / math.prod(extents)
        dims = ("batch", "channels", *(f"field{d}" for d in range(len(slides))))
        row, record = Table(dims, table, costs, work, {}).choose(target.tiles, exact=exact)
        ctx.plans[key] = ([int(p) for p in table[row]], record)
    splits, record = ctx.plans[key]
    if not ctx.plan:  # indices come second, with a plan of their own
        ctx.plan.update(record)
    else:
        ctx.plan["indices"] = record
    return list(splits)
