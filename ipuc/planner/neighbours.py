"""Work on every channel that reads its neighbours too: split over positions, and over channels."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from ipuc.codelets.lrn import ChannelWork
from ipuc.planner.context import Context
from ipuc.planner.portions import Portion, portions, row_major
from ipuc.planner.search import candidates, rank
from ipuc.program.builder import common_factors
from ipuc.program.family import Access
from ipuc.program.tensor import Tensor, View
from ipuc.types import Shape


@dataclass(frozen=True, slots=True)
class Read:
    """An operand.

    Attributes:
        tensor: [batch, channels, *positions].
        ahead: channels that are read ahead of those written, where they exist.
        behind: the same behind them.
    """

    tensor: Tensor
    ahead: int = 0
    behind: int = 0


def along_channels(
    ctx: Context, codelet: ChannelWork, operands: Mapping[str, Read], name: str
) -> Tensor:
    """One compute set, split over positions and, where that is not enough, channels.

    Args:
        ctx: the lowering.
        codelet: its `before` is set; its result is the field "out".
        operands: by field name, of one shape; the first reads furthest.
        name: name of the result.
    """
    first, *_ = operands.values()
    out = ctx.builder.variable(name, first.tensor.dtype, first.tensor.shape)
    if out.size == 0:
        return out
    tensors = {**{f: ctx.builder.solid(one.tensor) for f, one in operands.items()}, "out": out}
    views = {f: view for f, one in tensors.items() if (view := one.view()) is not None}
    reads = {**operands, "out": Read(out)}
    others = [View(v.variable, 0, (v.axes[0], *v.axes[2:])) for v in views.values()]
    # the problem's dimensions: channels, then what is left of batch and positions
    channel = [v.axes[1][0][1] for v in views.values()]
    factors = [(out.shape[1], channel), *common_factors(others)]
    if len(factors) == 1:
        factors.append((1, [0] * len(views)))
    extents = tuple(n for n, _ in factors)
    strides = {f: [s[i] for _, s in factors] for i, f in enumerate(views)}
    parts, grains = _split(ctx, codelet, operands, extents, first.tensor.itemsize)
    numbers = row_major(parts)
    dims = range(1, len(extents))
    with ctx.builder.compute_set(name) as compute_set:
        for portion in portions(
            extents, parts, grains, ctx.granularity, ctx.target.worker_contexts, dims
        ):
            for before, after, same in _borders(portion, extents[0], first):

                def field(
                    at: str, ahead: int = before, behind: int = after, own: Portion = same
                ) -> Access:
                    read, view = reads[at], views[at]
                    start, end = min(ahead, read.ahead), min(behind, read.behind)
                    whole = replace(own, shape=(start + own.shape[0] + end, *own.shape[1:]))
                    offset = view.offset - start * strides[at][0]
                    return whole.access(view.variable, offset, strides[at])

                compute_set.add(
                    replace(codelet, before=before),
                    same.numbers(numbers),
                    **{at: field(at) for at in views},
                )
    return out


def _borders(portion: Portion, channels: int, read: Read) -> Iterator[tuple[int, int, Portion]]:
    """Group vertices by how many channels they read beyond theirs: (before, after, vertices)."""
    (place,) = (i for i, axis in enumerate(portion.axes) if axis.dim == 0)
    axis = portion.axes[place]
    assert axis.number is not None
    before = np.minimum(axis.begin, read.ahead)
    after = np.minimum(channels - axis.begin - portion.shape[0], read.behind)
    for ahead, behind in itertools.product(np.unique(before), np.unique(after)):
        chosen = (before == ahead) & (after == behind)
        if chosen.any():
            kept = replace(axis, begin=axis.begin[chosen], number=axis.number[chosen])
            axes = (*portion.axes[:place], kept, *portion.axes[place + 1 :])
            yield int(ahead), int(behind), replace(portion, axes=axes)


def _split(
    ctx: Context,
    codelet: ChannelWork,
    operands: Mapping[str, Read],
    extents: Shape,
    itemsize: int,
) -> tuple[list[int], list[int]]:
    """Parts and grains: fewest cycles of work and of fetching neighbours, then fewest tiles."""
    target = ctx.target
    grains = [1] * (len(extents) - 1) + [target.vector_width(itemsize)]
    key = ("along channels", codelet, extents, itemsize)
    if key not in ctx.plans:
        counts = [-(-n // g) for n, g in zip(extents, grains, strict=True)]
        table = candidates(counts, target.tiles)
        window = tuple(
            np.minimum(-(-counts[d] // table[:, d]) * grains[d], n) for d, n in enumerate(extents)
        )
        windows = {"out": window}
        fetched = 0
        for at, read in operands.items():
            reach = np.minimum(window[0] + read.ahead + read.behind, extents[0])
            windows[at] = (reach, *window[1:])
            fetched = fetched + np.prod(np.stack(windows[at]), axis=0) * itemsize
        cycles = codelet.cycles(target, windows, itemsize)
        cycles = cycles + -(-fetched // target.exchange_bytes_per_cycle)
        best = rank([cycles, np.prod(table, axis=1)])[0]
        ctx.plans[key] = [int(p) for p in table[best]]
    return ctx.plans[key], grains
