"""Max pooling and its gradient as in 2017: one vertex for each pixel of each group of channels.

Of equal largest elements ONNX's gradient goes to the first. The forward vertices of a training
graph therefore keep, beside the largest element of a window, its place in the kernel; the backward
vertices read that where those of 2017 read their own element and the window's result.
Source: rules read in the public history of Graphcore's PopLibs, winter 2016/17.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ipuc.codelets.max_pooling import MaxPooling
from ipuc.codelets.max_pooling_bwd import MaxPoolingBwd
from ipuc.codelets.max_pooling_places import MaxPoolingPlaces
from ipuc.codelets.zero import Zero
from ipuc.planner.context import Context
from ipuc.planner.window import Slide
from ipuc.planner.worker.layout import grouped
from ipuc.planner.worker.pixels import Pixels, meeting_part
from ipuc.program.tensor import Tensor
from ipuc.types import Ints

#: Kernel positions that a place can tell apart.
MOST_PLACES = 1 << 16
#: Families beyond which a gradient is not built so: pixels see as many kinds of windows.
MOST_FAMILIES = 256
#: Field dimensions of the vertices.
DIMS = 2


@dataclass(frozen=True, slots=True)
class _Alike:
    """Pixels along one dimension that meet the other side alike.

    Attributes:
        at: the pixels.
        begin: the first pixel that each meets on the other side.
        place: where in the kernel that meeting is.
        count: how many they meet.
    """

    at: Ints
    begin: Ints
    place: int
    count: int


def reached(slides: Sequence[Slide], dtype: str) -> bool:
    """Whether the rules reach a max pooling: one or two dimensions, windows that see something."""
    if not 1 <= len(slides) <= DIMS or not dtype.startswith("float"):
        return False
    two = _two(slides)
    kinds = math.prod(len(_covering(slide)) for slide in two)
    return (
        all(slide.dilation == 1 for slide in two)
        and math.prod(slide.kernel for slide in two) <= MOST_PLACES
        and kinds <= MOST_FAMILIES
        and all(alike.count > 0 for slide in two for alike in _windows(slide))
    )


def max_pool(
    ctx: Context, x: Tensor, slides: Sequence[Slide], group: int, name: str, *, places: bool
) -> tuple[Tensor, Tensor | None]:
    """Add the vertices of a max pooling.

    Args:
        ctx: the lowering.
        x: [batch, channels, *field].
        slides: one per field dimension; the rules reach them.
        group: channels of the result that lie together; a divisor of the channels.
        name: of the result.
        places: whether the places of the largest elements are wanted.

    Returns:
        [batch, channels, *out] in groups of channels, and the places, uint16, if wanted.
    """
    shape = (*x.shape[:2], *(slide.out for slide in slides))
    out = grouped(ctx, name, x.dtype, shape, group)
    kept = grouped(ctx, f"{name} places", "uint16", shape, group) if places else None
    (x,), part = meeting_part(ctx, [(x, f"{name} input")], group)
    source = Pixels.of(ctx, x, group, part)
    made = {"out": Pixels.of(ctx, out, group, part)}
    if kept is not None:
        made["places"] = Pixels.of(ctx, kept, group, part)
    two = _two(slides)
    with ctx.builder.compute_set(name) as compute_set:
        compute_set.workers = "one"
        for rows, columns in itertools.product(*map(_windows, two)):
            at = rows.at, columns.at
            first = rows.place, columns.place
            compute_set.add(
                MaxPoolingPlaces(first, two[1].kernel) if places else MaxPooling(),
                made["out"].tiles(ctx, *at),
                x=source.several((rows.begin, rows.count), (columns.begin, columns.count)),
                **{field: pixels.single(*at) for field, pixels in made.items()},
            )
    return out, kept


def max_pool_gradient(
    ctx: Context, places: Tensor, dy: Tensor, slides: Sequence[Slide], group: int, name: str
) -> Tensor:
    """Add the vertices of a max pooling's gradient.

    Args:
        ctx: the lowering.
        places: [batch, channels, *out], as `max_pool` gives them.
        dy: gradient of the result, of that shape.
        slides: one per field dimension, as the forward pass has them.
        group: channels of the gradient that lie together; a divisor of the channels.
        name: of the gradient.

    Returns:
        The gradient of the input: [batch, channels, *field], in groups of channels.
    """
    shape = (*dy.shape[:2], *(slide.field for slide in slides))
    made = grouped(ctx, name, dy.dtype, shape, group)
    given = [(places, f"{name} places"), (dy, f"{name} input")]
    tensors, part = meeting_part(ctx, given, group)
    where, upstream, dx = (Pixels.of(ctx, one, group, part) for one in (*tensors, made))
    two = _two(slides)
    with ctx.builder.compute_set(name) as compute_set:
        compute_set.workers = "one"
        for rows, columns in itertools.product(*map(_covering, two)):
            at = rows.at, columns.at
            tiles, out = dx.tiles(ctx, *at), dx.single(*at)
            if not rows.count or not columns.count:  # no window holds these
                compute_set.add(Zero(), tiles, out=out)
                continue
            windows = (rows.begin, rows.count), (columns.begin, columns.count)
            compute_set.add(
                MaxPoolingBwd(
                    (rows.place, columns.place), (two[0].stride, two[1].stride), two[1].kernel
                ),
                tiles,
                places=where.several(*windows),
                dy=upstream.several(*windows),
                dx=out,
            )
    return made


def _two(slides: Sequence[Slide]) -> tuple[Slide, Slide]:
    """Windows in two dimensions; a missing first one has a single pixel."""
    return slides[-2] if len(slides) == DIMS else Slide(1, 1, 1), slides[-1]


def _windows(slide: Slide) -> list[_Alike]:
    """Outputs by the elements of the kernel that they see."""
    at = np.arange(slide.out, dtype=np.int64)
    low = at * slide.stride - slide.pad
    place = np.maximum(0, -low)
    count = np.minimum(slide.kernel, slide.field - low) - place
    return _grouped(at, low + place, place, np.maximum(count, 0))


def _covering(slide: Slide) -> list[_Alike]:
    """Inputs by the windows that hold them, the first of them first."""
    at = np.arange(slide.field, dtype=np.int64)
    last = np.minimum((at + slide.pad) // slide.stride, slide.out - 1)
    first = np.maximum(0, -((slide.kernel - 1 - at - slide.pad) // slide.stride))
    count = np.maximum(last - first + 1, 0)
    first = np.where(count > 0, first, 0)
    place = np.where(count > 0, at + slide.pad - first * slide.stride, 0)
    return _grouped(at, first, place, count)


def _grouped(at: Ints, begin: Ints, place: Ints, count: Ints) -> list[_Alike]:
    found = []
    for kind in np.unique(np.column_stack([place, count]), axis=0):
        here = (place == kind[0]) & (count == kind[1])
        found.append(_Alike(at[here], begin[here], int(kind[0]), int(kind[1])))
    return found
