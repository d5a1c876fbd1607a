"""Programs of a pooling's gradient, and what they should give, in float64."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from ipuc.emulator import run, strict
from ipuc.graph.ir import Graph
from ipuc.planner.context import Context, Granularity
from ipuc.planner.pool_gradient import average_pool_gradient, max_pool_gradient
from ipuc.planner.window import Slide
from ipuc.program.builder import Builder
from ipuc.target import parse_target

Array = NDArray[Any]


@dataclass(frozen=True)
class Case:
    """A pooling, and where its gradient is lowered to.

    Attributes:
        slides: windows.
        lead: batch and channels.
        ends: where the zeros that a mean counts end, per dimension; None if it counts none.
        granularity: of the lowering.
        target: the machine.
    """

    slides: tuple[Slide, ...]
    lead: tuple[int, int]
    ends: tuple[int | None, ...]
    granularity: Granularity = "tile"
    target: str = "tiny"

    @property
    def field(self) -> tuple[int, ...]:
        return tuple(s.field for s in self.slides)

    @property
    def out(self) -> tuple[int, ...]:
        return tuple(s.out for s in self.slides)

    def context(self) -> Context:
        graph = Graph("test", [], [], {}, {}, [], 22)
        return Context(Builder(parse_target(self.target)), graph, self.granularity)


@st.composite
def cases(draw: st.DrawFn, most: tuple[int, int, int] = (20, 9, 5)) -> Case:
    """Strides below, at and above the kernel; pads, dilations, and windows that hang over.

    Fields of one, two or three dimensions have about `most` elements along each.
    """
    dims = draw(st.sampled_from([1, 2, 2, 3]))
    slides = []
    for _ in range(dims):
        kernel, stride = draw(st.integers(1, 4)), draw(st.integers(1, 5))
        dilation = draw(st.sampled_from([1, 1, 2]))
        pads = draw(st.tuples(st.integers(0, kernel - 1), st.integers(0, kernel - 1)))
        reach = (kernel - 1) * dilation + 1
        least = max(1, reach - sum(pads))
        field = draw(st.integers(least, max(least, most[dims - 1])))
        room = field + sum(pads) - reach
        out = room // stride + 1
        if draw(st.booleans()) and out * stride < field + pads[0]:  # ceil_mode
            out = -(-room // stride) + 1
        slides.append((Slide(field, out, kernel, stride, dilation, pads[0]), field + pads[1]))
    counted = draw(st.booleans())
    return Case(
        tuple(slide for slide, _ in slides),
        (draw(st.integers(1, 2)), draw(st.sampled_from([1, 3, 9]))),
        tuple(end if counted else None for _, end in slides),
        draw(st.sampled_from(["tile", "tile", "worker"])),
        draw(st.sampled_from(["tiny", "gc200,tiles=7", "gc200,tiles=64"])),
    )


def windows(case: Case) -> list[tuple[tuple[int, ...], list[tuple[int, ...]]]]:
    """Every output with the places of its window, in window order, those outside too."""
    found = []
    for out in np.ndindex(*case.out):
        sides = [
            [o * s.stride - s.pad + k * s.dilation for k in range(s.kernel)]
            for o, s in zip(out, case.slides, strict=True)
        ]
        found.append((out, list(itertools.product(*sides))))
    return found


def inside(place: tuple[int, ...], low: Any, high: Any) -> bool:
    return all(a <= p < b for p, a, b in zip(place, low, high, strict=True))


def pooled(case: Case, x: Array, kind: str) -> Array:
    """The forward pass, window by window, in float64."""
    y = np.zeros((*case.lead, *case.out))
    for out, places in windows(case):
        seen = [p for p in places if inside(p, [0] * len(p), case.field)]
        values = np.array([x[each(p)] for p in seen]).astype(float)
        if kind == "max":
            y[each(out)] = values.max(axis=0)
        else:
            y[each(out)] = values.sum(axis=0) / count(case, places)
    return y


def each(place: tuple[int, ...]) -> tuple[Any, ...]:
    """One place of every image and channel."""
    return (..., *place)


def count(case: Case, places: list[tuple[int, ...]]) -> int:
    """Elements that a mean divides by."""
    low = [0 if end is None else -s.pad for s, end in zip(case.slides, case.ends, strict=True)]
    high = [s.field if end is None else end for s, end in zip(case.slides, case.ends, strict=True)]
    return max(1, sum(inside(p, low, high) for p in places))


def by_hand(case: Case, x: Array, dy: Array, kind: str, *, first: bool = True) -> Array:
    """The gradient, window by window, in float64; of equal maxima the first or all."""
    dx = np.zeros((*case.lead, *case.field))
    for lead in np.ndindex(*case.lead):
        for out, places in windows(case):
            seen = [p for p in places if inside(p, [0] * len(p), case.field)]
            gradient = float(dy[(*lead, *out)])
            if kind == "mean":
                for p in seen:
                    dx[(*lead, *p)] += gradient / count(case, places)
                continue
            values = [float(x[(*lead, *p)]) for p in seen]
            most = [p for p, v in zip(seen, values, strict=True) if v == max(values)]
            for p in most[:1] if first else most:
                dx[(*lead, *p)] += gradient
    return dx


def lowered(
    case: Case, x: Array, dy: Array, kind: str, *, first: bool = True, check_strict: bool = False
) -> Array:
    """What the vertices give; on private tile memories too, if asked."""
    ctx = case.context()
    builder = ctx.builder
    dtype = dy.dtype.name
    given = {"dy": builder.input("dy", dtype, dy.shape)}
    arrays = {"dy": dy}
    if kind == "max":
        y = pooled(case, x, "max").astype(x.dtype)
        given |= {"x": builder.input("x", dtype, x.shape), "y": builder.input("y", dtype, y.shape)}
        arrays |= {"x": x, "y": y}
        dx = max_pool_gradient(
            ctx, given["x"], given["y"], given["dy"], case.slides, "dx", first=first
        )
    else:
        dx = average_pool_gradient(ctx, given["dy"], case.slides, "dx", ends=case.ends)
    builder.output("dx", dx)
    builder.map_rest()
    program = builder.build()
    made = run.run(program, arrays)["dx"]
    if check_strict:
        np.testing.assert_array_equal(made, strict.run(program, arrays)["dx"])
    return made


def values(case: Case, seed: int, dtype: str = "float32") -> tuple[Array, Array]:
    """An input with ties, and a gradient of few bits, so that sums are exact."""
    draw = np.random.default_rng(seed)
    x = draw.integers(-3, 4, (*case.lead, *case.field)).astype(dtype)
    dy = (draw.integers(-8, 9, (*case.lead, *case.out)) / 4).astype(dtype)
    return x, dy


def seen(case: Case) -> bool:
    """Whether every window holds an element: others have no largest one."""
    return all(
        any(inside(p, [0] * len(p), case.field) for p in places) for _, places in windows(case)
    )


def size(case: Case) -> int:
    return math.prod(case.lead) * math.prod(case.field)
