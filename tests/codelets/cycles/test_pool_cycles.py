"""Pooling vertices against their worklists, written out worker by worker and row by row."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipuc.codelets.cycles.pool import (
    LOOPS,
    START,
    Meet,
    forward_meets,
    gradient_meets,
    pooling,
    vertex,
)
from ipuc.target import CATALOGUE

GC2 = CATALOGUE["gc2"]

#: Whether an output meets a kernel position, for each dimension and position.
Meets = list[list[Callable[[int], bool]]]


@st.composite
def blocks(draw: st.DrawFn) -> tuple[list[int], list[Sequence[Meet]], Meets]:
    """Sizes, what the formula is told, and the same told element by element."""
    sizes: list[int] = []
    told: list[Sequence[Meet]] = []
    found: Meets = []
    for _ in range(draw(st.integers(1, 3))):
        size, kernel = draw(st.integers(1, 7)), draw(st.integers(1, 3))
        stride, dilation = draw(st.integers(1, 3)), draw(st.integers(1, 2))
        sizes.append(size)
        if draw(st.booleans()):
            pads = (draw(st.integers(0, 2)), draw(st.integers(0, 2)))
            told.append(forward_meets(size, kernel, stride, dilation, pads))
            found.append([_forward(size, kernel, stride, dilation, pads, k) for k in range(kernel)])
        else:
            lead, outs = draw(st.integers(-2, 5)), draw(st.integers(0, 5))
            told.append(gradient_meets(size, kernel, stride, dilation, lead, outs))
            found.append([_gradient(stride, dilation, lead, outs, k) for k in range(kernel)])
    return sizes, told, found


def _forward(
    size: int, kernel: int, stride: int, dilation: int, pads: tuple[int, int], k: int
) -> Callable[[int], bool]:
    reach = (size - 1) * stride + (kernel - 1) * dilation + 1
    return lambda out: pads[0] <= out * stride + k * dilation < reach - pads[1]


def _gradient(stride: int, dilation: int, lead: int, outs: int, k: int) -> Callable[[int], bool]:
    def meets(element: int) -> bool:
        window, rest = divmod(element + lead - k * dilation, stride)
        return rest == 0 and 0 <= window < outs

    return meets


def by_hand(
    kind: str, batch: int, sizes: Sequence[int], meets: Meets, groups: int, vectors: int
) -> int:
    """The slowest of six workers, each with its run of outputs in row order."""
    first, more = LOOPS[kind]
    *outer, width = sizes
    total, slowest = batch * math.prod(sizes), 0
    for worker in range(6):
        begin, end = worker * total // 6, (worker + 1) * total // 6
        cycles = START[kind] + (4 + -(-total * vectors // 6)) * groups
        while begin < end:
            row, at = divmod(begin, width)
            stop = min(end, (row + 1) * width)
            index = np.unravel_index(row % math.prod(outer), outer) if outer else ()
            cycles += 15
            for position in itertools.product(*(range(len(dim)) for dim in meets)):
                met = all(meets[d][position[d]](int(i)) for d, i in enumerate(index))
                run = range(at, at + stop - begin)
                count = sum(meets[-1][position[-1]](x) for x in run) if met else 0
                if count:
                    loops = vectors * (3 + first + more * (count - 1))
                    pointers = (6 if kind == "max gradient" else 4) * (groups - 1)
                    cycles += 23 + groups * (2 + loops) + pointers
            begin = stop
        slowest = max(slowest, cycles)
    return 13 + 6 * slowest


@given(
    block=blocks(),
    kind=st.sampled_from(sorted(LOOPS)),
    batch=st.integers(1, 3),
    groups=st.integers(1, 3),
    vectors=st.integers(1, 4),
)
@settings(max_examples=200, deadline=None)
def test_every_worker_and_row(
    block: tuple[list[int], list[Sequence[Meet]], Meets],
    kind: str,
    batch: int,
    groups: int,
    vectors: int,
) -> None:
    sizes, told, found = block
    made = pooling(GC2, kind, batch=batch, sizes=sizes, meets=told, groups=groups, vectors=vectors)
    assert made == by_hand(kind, batch, sizes, found, groups, vectors)


@pytest.mark.parametrize("group", [4, 8])
def test_windows_that_stand_apart_are_one_row(group: int) -> None:
    """Two groups of 2 x 3 outputs of 2 x 2 windows: a row of 12 with one group."""
    always: Meets = [[lambda _: True] * 2, [lambda _: True] * 2]
    meets = [[(0, size, 1)] * 2 for size in (2, 3)]
    made = vertex(
        GC2,
        "max",
        batch=1,
        channels=2 * group,
        group=group,
        sizes=[2, 3],
        meets=meets,
        itemsize=2,
        apart=True,
    )
    assert made == by_hand("max", 1, [1, 12], always, 1, group // 4)
