"""Random shapes and arrays for operator tests."""

from __future__ import annotations

from typing import Any

import numpy as np
from harness import TARGETS
from hypothesis import settings
from hypothesis import strategies as st
from numpy.typing import NDArray

Array = NDArray[Any]
Shape = tuple[int, ...]

#: Few examples for each operator: there are many operators, and they share their code.
FEW = settings(max_examples=6, deadline=None, derandomize=True)
SOME = settings(max_examples=30, deadline=None, derandomize=True)

EXTENTS = st.sampled_from([1, 2, 3, 4, 5, 7, 16, 33])

seeds = st.integers(0, 2**32 - 1)
granularities = st.sampled_from(["tile", "worker", "fine"])
targets = st.sampled_from(TARGETS).map(lambda target: (target,))


@st.composite
def shapes(draw: st.DrawFn, least: int = 0, most: int = 4, empty: bool = True) -> Shape:
    """A shape of at most a few thousand elements; now and then an axis is empty."""
    shape = draw(st.lists(EXTENTS, min_size=least, max_size=most))
    while np.prod(shape, dtype=int) > 4000:
        shape[int(np.argmax(shape))] //= 2
    if empty and shape and draw(st.integers(0, 9)) == 0:
        shape[draw(st.integers(0, len(shape) - 1))] = 0
    return tuple(shape)


@st.composite
def broadcast(draw: st.DrawFn, count: int, one_way: bool = False) -> list[Shape]:
    """Shapes that broadcast together; with `one_way` to the first of them."""
    whole = draw(shapes())
    found: list[Shape] = []
    for number in range(count):
        keep = draw(st.lists(st.booleans(), min_size=len(whole), max_size=len(whole)))
        part = tuple(n if k else 1 for n, k in zip(whole, keep, strict=True))
        lead = draw(st.integers(0, len(whole)))
        if number == 0 and one_way:
            part, lead = whole, 0
        found.append(part[lead:])
    return found


def array(
    seed: int, shape: Shape, dtype: str = "float32", low: float = -3, high: float = 3
) -> Array:
    """Random elements between bounds."""
    random = np.random.default_rng(seed)
    if dtype == "bool":
        return random.integers(0, 2, shape).astype(bool)
    if np.dtype(dtype).kind in "iu":
        return np.asarray(random.integers(int(low), int(high) + 1, shape)).astype(dtype)
    return np.asarray(random.uniform(low, high, shape)).astype(dtype)
