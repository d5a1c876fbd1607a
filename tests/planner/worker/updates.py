"""Weight and bias updates as programs, and what they should give, in float64."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ipuc.graph.ir import Graph
from ipuc.planner.context import Context
from ipuc.planner.conv_problem import Conv
from ipuc.planner.window import Slide
from ipuc.planner.worker.layout import grouped
from ipuc.program.builder import Builder
from ipuc.program.tensor import Tensor
from ipuc.target.catalogue import parse_target

Array = NDArray[Any]


def context(target: str, granularity: Any = "worker") -> Context:
    """A lowering of an empty graph."""
    graph = Graph("test", [], [], {}, {}, [], 22)
    return Context(Builder(parse_target(target)), graph, granularity)


def square(field: int, kernel: int, stride: int, pad: int) -> Slide:
    """One of two equal dimensions."""
    return Slide(field, (field + 2 * pad - kernel) // stride + 1, kernel, stride, 1, pad)


def shapes(conv: Conv) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """Shapes of a convolution's data, of its result, and of its weights."""
    data = (conv.batch, conv.groups, conv.ins, *(s.field for s in conv.slides))
    result = (conv.batch, conv.groups, conv.outs, *(s.out for s in conv.slides))
    return data, result, (conv.groups, conv.outs, conv.ins, *(s.kernel for s in conv.slides))


def by_definition(conv: Conv, x: Array, dy: Array) -> Array:
    """The gradient of the weights: kernel element by kernel element, over whole padded arrays."""
    x, dy = x.astype(np.float64), dy.astype(np.float64)
    spans = [(s.out - 1) * s.stride + (s.kernel - 1) * s.dilation + 1 for s in conv.slides]
    pads = [(s.pad, max(0, n - s.pad - s.field)) for s, n in zip(conv.slides, spans, strict=True)]
    padded = np.pad(x, [(0, 0)] * 3 + pads)
    made = np.zeros(shapes(conv)[2])
    for element in itertools.product(*(range(s.kernel) for s in conv.slides)):
        seen = tuple(
            slice(k * s.dilation, k * s.dilation + (s.out - 1) * s.stride + 1, s.stride)
            for k, s in zip(element, conv.slides, strict=True)
        )
        met = padded[(slice(None),) * 3 + seen].reshape(*x.shape[:3], -1)
        made[(slice(None),) * 3 + element] = np.einsum(
            "bgop,bgip->goi", dy.reshape(*dy.shape[:3], -1), met
        )
    return made


def input_in_groups(
    ctx: Context, name: str, shape: tuple[int, ...], group: int, dtype: str = "float32"
) -> Tensor:
    """An input [batch, 1, channels, *field], copied into groups of channels unless that is 1."""
    batch, _, channels, *field = shape
    given = ctx.builder.input(name, dtype, shape)
    if group == 1:
        return given
    laid = grouped(ctx, f"{name} grouped", dtype, (batch, channels, *field), group)
    whole = laid.reshape(shape)
    assert whole is not None
    ctx.builder.copy_into(whole, given)
    return whole


def in_groups(ctx: Context, name: str, shape: tuple[int, ...], group: int) -> Tensor:
    """Halves [1, 1, channels, *field] in groups of channels, which nothing fills: for counting."""
    laid = grouped(ctx, name, "float16", (1, *shape[2:]), group).reshape(shape)
    assert laid is not None
    return laid


def relative_error(values: Array, exact: Array) -> float:
    """Largest error, in units of the largest value."""
    return float(np.abs(values - exact).max() / max(np.abs(exact).max(), math.ulp(1.0)))
