"""Gradients of poolings: every element of the input's gradient is made once, by one vertex.

A vertex gathers over the outputs whose windows hold its elements; nothing is added up afterwards.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ipuc.codelets.binary import BinaryOp
from ipuc.codelets.max_pool_grad import MaxPoolGrad
from ipuc.codelets.pool_back import PoolBack
from ipuc.codelets.sum_pool_grad import SumPoolGrad
from ipuc.codelets.unary import UnaryOp
from ipuc.planner.context import Context
from ipuc.planner.elementwise import elementwise
from ipuc.planner.pool_blocks import Part, covers
from ipuc.planner.pooling import group_of, itemsizes, place, planned
from ipuc.planner.poplin.pooling import Pooling
from ipuc.planner.window import Slide
from ipuc.program.tensor import Tensor
from ipuc.types import Shape


def max_pool_gradient(
    ctx: Context,
    x: Tensor,
    y: Tensor,
    dy: Tensor,
    slides: tuple[Slide, ...],
    name: str,
    *,
    first: bool = True,
    lies: int | None = None,
) -> Tensor:
    """Add the gradient of a max pooling.

    Of equal largest elements of a window the first gets the gradient, as in torch. That takes more
    than popnn's vertex does: all that the windows hold, beyond the block itself, and a search.

    Args:
        ctx: the lowering.
        x: the pooling's input: [batch, channels, *field].
        y: its output: [batch, channels, *out].
        dy: gradient of the output.
        slides: one per field dimension, as the forward pass has them.
        name: name of the result.
        first: False gives every largest element the gradient, as popnn does.
        lies: see `Pooling.lies`.

    Returns:
        The gradient of the input: a new row-major variable of its shape.
    """
    made = ctx.builder.variable(name, dy.dtype, x.shape)
    if made.size == 0:
        return made
    operands = {"dy": dy, "x": x, "y": y}
    batch, channels = x.shape[:2]
    what = Pooling(
        "max gradient", batch, channels, slides, itemsizes(operands), first=first, lies=lies
    )
    plan = planned(ctx, what)

    def make(parts: Sequence[Part]) -> PoolBack:
        skip = tuple(part.numbers["skip"] for part in parts)
        lead = tuple(part.numbers["lead"] for part in parts)
        return MaxPoolGrad(*_window(slides), lead, group_of(ctx, plan), skip, first)

    place(ctx, what, plan, operands, ("dx", made), make, name)
    return made


def average_pool_gradient(
    ctx: Context,
    dy: Tensor,
    slides: tuple[Slide, ...],
    name: str,
    *,
    ends: Sequence[int | None] | None = None,
    beforehand: bool = False,
    lies: int | None = None,
) -> Tensor:
    """Add the gradient of an average pooling.

    Where all windows count equally many elements, the vertices divide. Where padding makes a
    difference, the gradient is divided beforehand. A window that is the whole field only spreads
    its share.

    Args:
        ctx: the lowering.
        dy: gradient of the output: [batch, channels, *out].
        slides: one per field dimension, as the forward pass has them.
        name: name of the result.
        ends: for each dimension, where the zeros that the mean counts end, in elements of the
            input; they begin `pad` before it. None if it counts none.
        beforehand: divide the gradient beforehand in any case, as popnn does.
        lies: see `Pooling.lies`.

    Returns:
        The gradient of the input: a new row-major variable [batch, channels, *field].
    """
    batch, channels = dy.shape[:2]
    shape: Shape = (batch, channels, *(s.field for s in slides))
    if math.prod(shape) == 0 or dy.size == 0:
        return ctx.scalar(0.0, dy.dtype, shape)
    counts = window_counts(slides, ends or [None] * len(slides))
    alike = bool((counts == counts.flat[0]).all())
    scale = 1 / float(counts.flat[0])
    if alike and covers(slides):
        every = dy.expand(shape)
        return elementwise(ctx, UnaryOp("scale", (scale,)), {"x": every}, dy.dtype, name)
    if beforehand or not alike:
        share = ctx.builder.constant(f"{name} shares", (1 / counts).astype(dy.dtype))
        operands = {"a": dy, "b": share}
        dy, scale = elementwise(ctx, BinaryOp("mul"), operands, dy.dtype, f"{name} share"), 1.0
    made = ctx.builder.variable(name, dy.dtype, shape)
    read = {"dy": dy}
    what = Pooling("sum gradient", batch, channels, slides, itemsizes(read), lies=lies)
    plan = planned(ctx, what)

    def make(parts: Sequence[Part]) -> PoolBack:
        lead = tuple(part.numbers["lead"] for part in parts)
        return SumPoolGrad(*_window(slides), lead, group_of(ctx, plan), scale)

    place(ctx, what, plan, read, ("dx", made), make, name)
    return made


def window_counts(slides: Sequence[Slide], ends: Sequence[int | None]) -> NDArray[np.int64]:
    """How many elements each output's mean divides by: [*out], at least 1.

    Args:
        slides: one per field dimension.
        ends: see `average_pool_gradient`.
    """
    counts = np.ones((), np.int64)
    for slide, end in zip(slides, ends, strict=True):
        window = np.arange(slide.out)[:, None] * slide.stride - slide.pad
        places = window + np.arange(slide.kernel) * slide.dilation
        low, high = (0, slide.field) if end is None else (-slide.pad, end)
        counts = counts[..., None] * ((places >= low) & (places < high)).sum(axis=1)
    return np.maximum(counts, 1)


def _window(slides: Sequence[Slide]) -> tuple[Shape, Shape, Shape]:
    """Kernel, strides and dilations."""
    return (
        tuple(s.kernel for s in slides),
        tuple(s.stride for s in slides),
        tuple(s.dilation for s in slides),
    )
