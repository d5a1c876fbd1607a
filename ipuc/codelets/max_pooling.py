"""MaxPooling: the largest element of one window, for a group of channels."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from ipuc.codelets.amp import as_cycles
from ipuc.codelets.define import (
    Array,
    Batch,
    Codelet,
    Example,
    FieldSpec,
    In,
    Number,
    Out,
    ceil_div,
)
from ipuc.target import Target
from ipuc.types import Shape


def largest(x: Array, axes: int) -> Array:
    """The largest of each window: [*grid, ky, kx, parts, part] to [*grid, parts, part]."""
    made: Array | None = None
    for ky, kx in itertools.product(*(range(n) for n in x.shape[axes : axes + 2])):
        at: tuple[Any, ...] = (*(slice(None),) * axes, ky, kx)
        seen = x[at]
        made = seen.copy() if made is None else np.maximum(made, seen, out=made)
    assert made is not None
    return made


def window_cycles(target: Target, window: tuple[Number, ...], itemsize: int) -> Number:
    """Cycles of comparing all elements of a window [ky, kx, parts, part], on one worker."""
    ky, kx, parts, part = window
    vectors = parts * ceil_div(np.asarray(part), target.vector_width(itemsize))
    return 16 + 2 * vectors + ky * kx * (3 * parts + 2 * vectors)


class MaxPooling(Codelet):
    """out = the largest of a window, element by element of a group of channels.

    x: [ky, kx, parts, part], a list of vectors, only of what exists; out: [parts, part], one run.

    Source: one vertex for a pixel and group as in PopLibs, winter 2016/17. Cycles are our own
    estimate, of one worker: 16 around it; to load a pointer, 3 for each vector, and a load and a
    comparison of 64 bits; 2 for 64 bits of the result.
    """

    name: ClassVar[str] = "MaxPooling"
    fields: ClassVar[tuple[FieldSpec, ...]] = (In("x", list_axes=3), Out("out"))

    def compute(self, batch: Batch, **operands: Array) -> dict[str, Array]:
        """Compare kernel position by kernel position."""
        return {"out": largest(operands["x"], batch.axes)}

    def cycles(
        self, target: Target, windows: Mapping[str, tuple[Number, ...]], itemsize: int
    ) -> Number:
        """Cycles of one vertex."""
        workers = target.worker_contexts
        return as_cycles(workers * ceil_div(window_cycles(target, windows["x"], itemsize), workers))

    def flops(self, windows: Mapping[str, Shape]) -> int:
        """One operation for each element."""
        return math.prod(windows["x"])

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """A whole group of floats, and halves that lie in two parts."""
        one = {"x": (3, 2, 1, 4), "out": (1, 4)}
        two = {"x": (1, 2, 2, 4), "out": (2, 4)}
        return (
            Example(cls(), one, larger={"x": (6, 5, 1, 4), "out": (1, 4)}),
            Example(
                cls(),
                two,
                dict.fromkeys(two, "float16"),
                larger={"x": (6, 5, 2, 4), "out": (2, 4)},
            ),
        )
