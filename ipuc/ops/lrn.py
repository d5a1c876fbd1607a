"""LRN."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar

import numpy as np

from ipuc.codelets.lrn import LocalResponse
from ipuc.graph.ir import Node
from ipuc.ops.define import Op
from ipuc.planner.context import Context
from ipuc.planner.portions import Portion, portions, row_major
from ipuc.planner.search import candidates, rank
from ipuc.program.builder import common_factors
from ipuc.program.tensor import Tensor, View
from ipuc.types import Shape


class LRN(Op):
    """Y = x / (bias + alpha / size * energy of neighbouring channels) ** beta.

    Source: ONNX LRN-13.
    """

    name: ClassVar[str] = "LRN"

    def lower(self, ctx: Context, node: Node) -> None:
        """One compute set, split over positions and, where that is not enough, channels."""
        x, (output,) = ctx.tensor(node.inputs[0]), node.outputs
        given = node.attributes
        codelet = LocalResponse(
            int(given["size"]),
            float(given.get("alpha", 1e-4)),
            float(given.get("beta", 0.75)),
            float(given.get("bias", 1.0)),
        )
        ctx.define(output, _local_response(ctx, codelet, x, output))


def _local_response(ctx: Context, codelet: LocalResponse, x: Tensor, name: str) -> Tensor:
    out = ctx.builder.variable(name, x.dtype, x.shape)
    if out.size == 0:
        return out
    source, target = ctx.builder.solid(x).view(), out.view()
    assert source is not None
    assert target is not None
    views = (source, target)
    others = [View(v.variable, 0, (v.axes[0], *v.axes[2:])) for v in views]
    # the problem's dimensions: channels, then what is left of batch and positions
    factors = [(x.shape[1], [v.axes[1][0][1] for v in views]), *common_factors(others)]
    if len(factors) == 1:
        factors.append((1, [0, 0]))
    extents = tuple(n for n, _ in factors)
    from_strides, into_strides = ([s[i] for _, s in factors] for i in range(2))
    parts, grains = _split(ctx, codelet, extents, x.itemsize)
    numbers = row_major(parts)
    dims = range(1, len(extents))
    lead = (codelet.size - 1) // 2
    with ctx.builder.compute_set(name) as compute_set:
        for portion in portions(
            extents, parts, grains, ctx.granularity, ctx.target.worker_contexts, dims
        ):
            for before, after, same in _borders(portion, extents[0], lead, codelet.size - 1 - lead):
                reads = replace(same, shape=(before + same.shape[0] + after, *same.shape[1:]))
                offset = source.offset - before * from_strides[0]
                compute_set.add(
                    replace(codelet, before=before),
                    same.numbers(numbers),
                    x=reads.access(source.variable, offset, from_strides),
                    out=same.access(target.variable, target.offset, into_strides),
                )
    return out


def _borders(
    portion: Portion, channels: int, lead: int, trail: int
) -> Iterator[tuple[int, int, Portion]]:
    """Group vertices by how many channels they read beyond theirs: (before, after, vertices)."""
    (place,) = (i for i, axis in enumerate(portion.axes) if axis.dim == 0)
    axis = portion.axes[place]
    assert axis.number is not None
    before = np.minimum(axis.begin, lead)
    after = np.minimum(channels - axis.begin - portion.shape[0], trail)
    for ahead, behind in itertools.product(np.unique(before), np.unique(after)):
        chosen = (before == ahead) & (after == behind)
        if chosen.any():
            kept = replace(axis, begin=axis.begin[chosen], number=axis.number[chosen])
            axes = (*portion.axes[:place], kept, *portion.axes[place + 1 :])
            yield int(ahead), int(behind), replace(portion, axes=axes)


def _split(
    ctx: Context, codelet: LocalResponse, extents: Shape, itemsize: int
) -> tuple[list[int], list[int]]:
    """Parts and grains: fewest cycles of work and of fetching neighbours, then fewest tiles."""
    target = ctx.target
    grains = [1] * (len(extents) - 1) + [target.vector_width(itemsize)]
    key = ("local response", codelet, extents, itemsize)
    if key not in ctx.plans:
        counts = [-(-n // g) for n, g in zip(extents, grains, strict=True)]
        table = candidates(counts, target.tiles)
        window = tuple(
            np.minimum(-(-counts[d] // table[:, d]) * grains[d], n) for d, n in enumerate(extents)
        )
        reads = (np.minimum(window[0] + codelet.size - 1, extents[0]), *window[1:])
        fetched = np.prod(np.stack(reads), axis=0) * itemsize
        windows = {"x": reads, "out": window}
        cycles = codelet.cycles(target, windows, itemsize)
        cycles = cycles + -(-fetched // target.exchange_bytes_per_cycle)
        best = rank([cycles, np.prod(table, axis=1)])[0]
        ctx.plans[key] = [int(p) for p in table[best]]
    return ctx.plans[key], grains
