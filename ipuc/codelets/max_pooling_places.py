"""MaxPoolingPlaces: the largest element of one window, and which of its elements that is."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
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
from ipuc.codelets.max_pooling import largest, window_cycles
from ipuc.target import Target
from ipuc.types import Shape


@dataclass(frozen=True)
class MaxPoolingPlaces(Codelet):
    """out = the largest of a window; places = where in the kernel the first such element stands.

    Not-a-number is larger than all, and equals itself. x: [ky, kx, parts, part], a list of
    vectors, only of what exists; out, places: [parts, part], one run each.

    Attributes:
        first: kernel position of x[0, 0], which is not 0 at a border.
        width: of the whole kernel; a place is the number of a kernel position, row by row.

    Source: as MaxPooling; twice its cycles for a window, since places are kept beside values (our
    own estimate).
    """

    first: tuple[int, int]
    width: int

    name: ClassVar[str] = "MaxPoolingPlaces"
    fields: ClassVar[tuple[FieldSpec, ...]] = (In("x", list_axes=3), Out("out"), Out("places"))

    def compute(self, batch: Batch, **operands: Array) -> dict[str, Array]:
        """Compare, then look for the result from the last kernel position to the first."""
        x = operands["x"]
        out = largest(x, batch.axes)
        places = np.zeros(out.shape, np.uint16)
        lead: tuple[Any, ...] = (slice(None),) * batch.axes
        (y, column), (ky, kx) = self.first, batch.windows["x"][:2]
        missing = out != out  # noqa: PLR0124  (not a number)
        some = bool(missing.any())
        for row, at in itertools.product(reversed(range(ky)), reversed(range(kx))):
            seen = x[(*lead, row, at)]
            hit = seen == out
            if some:
                hit |= missing & np.isnan(seen)
            places[hit] = (y + row) * self.width + column + at
        return {"out": out, "places": places}

    def itemsize(self, sizes: Mapping[str, int]) -> int:
        """Bytes of an element of the data."""
        return sizes["x"]

    def cycles(
        self, target: Target, windows: Mapping[str, tuple[Number, ...]], itemsize: int
    ) -> Number:
        """Cycles of one vertex."""
        workers = target.worker_contexts
        each = 2 * window_cycles(target, windows["x"], itemsize)
        return as_cycles(workers * ceil_div(each, workers))

    def flops(self, windows: Mapping[str, Shape]) -> int:
        """One operation for each element."""
        return math.prod(windows["x"])

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """A whole window of whole numbers with ties, and a border."""
        one = {"x": (3, 2, 1, 4), "out": (1, 4), "places": (1, 4)}
        two = {"x": (2, 2, 2, 4), "out": (2, 4), "places": (2, 4)}
        return (
            Example(
                cls((0, 0), 2),
                one,
                {"x": "float32", "out": "float32", "places": "uint16"},
                larger={"x": (6, 5, 1, 4), "out": (1, 4), "places": (1, 4)},
            ),
            Example(
                cls((1, 0), 3),
                two,
                {"x": "float16", "out": "float16", "places": "uint16"},
                larger={"x": (6, 5, 2, 4), "out": (2, 4), "places": (2, 4)},
            ),
        )
