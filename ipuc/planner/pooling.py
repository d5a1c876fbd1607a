"""Pooling: batches, channels and outputs split over tiles; the kernel is not."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from ipuc.codelets.define import Codelet
from ipuc.codelets.pool import Pool
from ipuc.planner.choices import misfit
from ipuc.planner.context import Context
from ipuc.planner.pool_blocks import Part
from ipuc.planner.poplin.pooling import Pooling, PoolPlan, plan_pooling
from ipuc.planner.portions import row_major
from ipuc.planner.window import Slide
from ipuc.program.family import Access, separable
from ipuc.program.split import split_axis
from ipuc.program.tensor import Tensor, View, coalesce
from ipuc.types import Ints, Shape

#: Channels of one vertex where every output pixel has its own (PopLibs, early 2017).
CHANNEL_GROUP = 16

#: Makes the codelet of a block from its parts along the field dimensions.
MakeCodelet = Callable[[Sequence[Part]], Codelet]


def pool(
    ctx: Context,
    operands: Mapping[str, Tensor],
    slides: tuple[Slide, ...],
    make: MakeCodelet,
    dtype: str,
    name: str,
    *,
    lies: int | None = None,
) -> Tensor:
    """Add the vertices of a pooling.

    Args:
        ctx: the lowering.
        operands: inputs by field name, each [batch, channels, *field]; the data first.
        slides: one per field dimension.
        make: the codelet for a block, from its border.
        dtype: element type of the result.
        name: name of the result.
        lies: see `Pooling.lies`.

    Returns:
        A new row-major variable [batch, channels, *out].
    """
    x = next(iter(operands.values()))
    out = ctx.builder.variable(name, dtype, (*x.shape[:2], *(s.out for s in slides)))
    if out.size == 0:
        return out
    codelet = make([_whole(slide) for slide in slides])
    kind = "places"
    if isinstance(codelet, Pool):
        kind = "max" if codelet.kind == "max" else "sum"
    batch, channels = x.shape[:2]
    what = Pooling(kind, batch, channels, slides, itemsizes(operands), lies=lies)
    plan = planned(ctx, what)

    def made(parts: Sequence[Part]) -> Codelet:
        codelet = make(parts)
        if not isinstance(codelet, Pool):
            return codelet
        apart = what.apart(ctx.target.vector_width(what.itemsize))
        return replace(codelet, group=group_of(ctx, plan), apart=apart)

    place(ctx, what, plan, operands, ("out", out), made, name)
    return out


def planned(ctx: Context, what: Pooling) -> PoolPlan:
    """Plan a pooling and put the record where the layer's plan lies.

    Raises:
        OptionError: the layer has a pinned plan that is none of this pooling.
    """
    # what comes second, as indices do, has a plan of its own
    pinned = ctx.choices.pinned(ctx.builder.layer) if not ctx.plan else None
    key = ("pool", what, None if pinned is None else repr(pinned))
    if key not in ctx.plans:
        ctx.plans[key] = plan_pooling(ctx.target, what, pinned)
    plan: PoolPlan | None = ctx.plans[key]
    if plan is None:
        raise misfit(ctx.builder.layer, "no split of this pooling is so")
    if not ctx.plan:
        ctx.plan.update(plan.record)
    else:
        ctx.plan["indices" if what.kind == "places" else what.kind] = plan.record
    return plan


def place(
    ctx: Context,
    what: Pooling,
    plan: PoolPlan,
    operands: Mapping[str, Tensor],
    result: tuple[str, Tensor],
    make: MakeCodelet,
    name: str,
) -> None:
    """Add the vertices of a planned pooling or gradient: a family for each kind of block.

    Args:
        ctx: the lowering.
        what: the problem.
        plan: its plan.
        operands: inputs by field name.
        result: name of the field that is written, and the tensor.
        make: the codelet for a block.
        name: of the compute set.
    """
    views = {
        field: ctx.builder.one_view(ctx.builder.solid(tensor, f"{name} {field}"))
        for field, tensor in operands.items()
    }
    written, into = result[0], ctx.builder.one_view(result[1])
    batch, channels, *extents = what.extents
    numbering = row_major(plan.splits)
    fine = ctx.granularity != "tile"  # one vertex per element of the field and group of channels
    groups = -(-channels // CHANNEL_GROUP) if fine else plan.splits[1]
    counts = extents if fine else plan.splits[2:]
    leads = itertools.product(
        split_axis(batch, plan.splits[0]),
        split_axis(channels, groups, CHANNEL_GROUP if fine else plan.group),
    )
    cut = [what.parts(dim, count) for dim, count in enumerate(counts)]
    with ctx.builder.compute_set(name) as compute_set:
        for (images, chans), parts in itertools.product(leads, itertools.product(*cut)):
            begins = [images.begin, chans.begin, *(part.begin for part in parts)]
            sizes = (images.size, chans.size)
            if fine:
                shares = zip(begins, plan.splits, what.extents, numbering, strict=True)
                tile = [table * n // extent * stride for table, n, extent, stride in shares]
            else:
                numbers = [images.index, chans.index, *(part.index for part in parts)]
                tile = [n * stride for n, stride in zip(numbers, numbering, strict=True)]
            fields = {
                field: _block(
                    view,
                    [*begins[:2], *(part.seen[field][0] for part in parts)],
                    (*sizes, *(part.seen[field][1] for part in parts)),
                )
                for field, view in views.items()
            }
            fields[written] = _block(into, begins, (*sizes, *(part.size for part in parts)))
            compute_set.add(make(parts), separable(0, *tile), **fields)


def group_of(ctx: Context, plan: PoolPlan) -> int:
    """Channels that lie together on a tile."""
    return plan.group if ctx.granularity == "tile" else CHANNEL_GROUP


def itemsizes(operands: Mapping[str, Tensor]) -> tuple[tuple[str, int], ...]:
    """Bytes of an element of each operand, as `Pooling` has them."""
    return tuple((name, tensor.itemsize) for name, tensor in operands.items())


def _block(view: View, begins: Iterable[Ints], shape: Shape) -> Access:
    strides = [(coalesce(axis) or ((1, 0),))[0][1] for axis in view.axes]
    tables = [begin * stride for begin, stride in zip(begins, strides, strict=True)]
    return Access(view.variable, separable(view.offset, *tables), shape, tuple(strides))


def _whole(slide: Slide) -> Part:
    """A part that knows no border, to see which codelet it takes."""
    one = np.zeros(1, np.int64)
    return Part(one, one, slide.out, {}, {"before": 0, "after": 0})
