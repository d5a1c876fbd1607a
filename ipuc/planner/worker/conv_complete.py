"""The last vertices of a convolution of 2017: bias, and groups of channels as the next layer's.

Source: rules read in the public history of Graphcore's PopLibs, winter 2016/17.
"""

from __future__ import annotations

import math

import numpy as np

from ipuc.codelets.conv_complete import ConvComplete
from ipuc.planner.context import Context
from ipuc.program.family import Access, separable
from ipuc.program.split import bounds
from ipuc.program.tensor import Tensor
from ipuc.types import Ints


def complete(ctx: Context, sums: Tensor, bias: Tensor, out: Tensor, group: int, name: str) -> None:
    """Add the bias to finished sums: a tile's pixels are split over its workers.

    A vertex has pixels of one channel group, so that it reads one group of biases.

    Args:
        ctx: the lowering.
        sums: a variable [batch, groups, y, x, part].
        bias: [channels], one strided view.
        out: [batch, channels, y, x], lying as [batch][channels / group][y][x][group].
        group: channels of a group.
        name: of the compute set.
    """
    batch, _, *field, part = sums.shape
    channels, pixels = out.shape[1], math.prod(field)
    units = batch * (channels // group) * pixels
    tiles = ctx.target.tiles
    begin, size = _runs(units, -(-units // tiles), ctx.target.worker_contexts, pixels)
    tile = begin // -(-units // tiles)
    image, rest = np.divmod(begin, channels // group * pixels)
    first = rest // pixels * group  # the first channel
    pixel = rest % pixels
    parts, width = max(1, group // part), min(group, part)
    plane = pixels * part
    source = image * (sums.shape[1] * plane) + first // part * plane + pixel * part + first % part
    views = [ctx.builder.one_view(tensor) for tensor in (sums, bias, out)]
    step = views[1].axes[0][0][1] if views[1].axes[0] else 0
    with ctx.builder.compute_set(f"{name} complete") as compute_set:
        compute_set.workers = "one"
        for count in np.unique(size).tolist():
            here = size == count
            each = np.arange(count, dtype=np.int64)
            into = np.column_stack([each * group, np.full_like(each, group)])
            places = (np.arange(parts)[:, None] * plane + each * part).reshape(-1)
            compute_set.add(
                ConvComplete(),
                separable(0, tile[here]),
                x=Access(
                    views[0].variable,
                    separable(views[0].offset, source[here]),
                    (parts, count, width),
                    (plane, part, 1),
                    np.column_stack([places, np.full_like(places, width)]),
                ),
                bias=Access(
                    views[1].variable,
                    separable(views[1].offset, first[here] * step),
                    (group,),
                    (step,),
                ),
                out=Access(
                    views[2].variable,
                    separable(views[2].offset, begin[here] * group),
                    (count, group),
                    (group, 1),
                    into,
                ),
            )


def _runs(units: int, each: int, workers: int, line: int) -> tuple[Ints, Ints]:
    """Begin and size of every vertex: a tile's units over its workers, cut at the ends of lines."""
    starts = np.arange(0, units, each)
    own = np.minimum(starts + each, units) - starts
    cuts: list[Ints] = [np.arange(0, units, line)]
    for count in np.unique(own).tolist():
        most = -(-count // workers)
        inner = bounds(count, -(-count // most))[:-1]
        cuts.append((starts[own == count][:, None] + inner).reshape(-1))
    begin = np.unique(np.concatenate(cuts))
    return begin, np.diff(begin, append=units)
