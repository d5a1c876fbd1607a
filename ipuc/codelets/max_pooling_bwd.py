"""MaxPoolingBwd: what one element of a max pooling's input gets from the windows that hold it."""

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
from ipuc.target import Target
from ipuc.types import Shape


@dataclass(frozen=True)
class MaxPoolingBwd(Codelet):
    """dx = the sum of dy over the windows whose largest element this is; a group of channels.

    places, dy: [windows along y, along x, parts, part], lists of vectors; dx: [parts, part].
    The vertex of 2017 compares its own element with each window's result, so that each of several
    equal ones gets the gradient; ONNX's gradient goes to the first of them, which takes the place
    that the forward vertex found instead of the result, and no element.

    Attributes:
        place: this element's position in the kernel of the first window.
        stride: of the windows.
        width: of the kernel; a place is the number of a kernel position, row by row.

    Source: one vertex for a pixel and group as in PopLibs, winter 2016/17. Cycles are our own
    estimate, of one worker: 16 around it; for each window and part 6 to load two pointers, and for
    64 bits of it two loads, a comparison, a choice and an addition; a store of 64 bits.
    """

    place: tuple[int, int]
    stride: tuple[int, int]
    width: int

    name: ClassVar[str] = "MaxPoolingBwd"
    fields: ClassVar[tuple[FieldSpec, ...]] = (
        In("places", list_axes=3),
        In("dy", list_axes=3),
        Out("dx"),
    )

    def compute(self, batch: Batch, **operands: Array) -> dict[str, Array]:
        """Add window by window."""
        places, dy = operands["places"], operands["dy"]
        lead = (slice(None),) * batch.axes
        total = np.zeros(batch.full("dx"), dy.dtype)
        for row, column in itertools.product(*(range(n) for n in batch.windows["dy"][:2])):
            ky = self.place[0] - row * self.stride[0]
            kx = self.place[1] - column * self.stride[1]
            at: tuple[Any, ...] = (*lead, row, column)
            np.add(total, dy[at], out=total, where=places[at] == ky * self.width + kx)
        return {"dx": total}

    def itemsize(self, sizes: Mapping[str, int]) -> int:
        """Bytes of an element of the gradient."""
        return sizes["dx"]

    def cycles(
        self, target: Target, windows: Mapping[str, tuple[Number, ...]], itemsize: int
    ) -> Number:
        """Cycles of one vertex."""
        rows, columns, parts, part = windows["dy"]
        vectors = parts * ceil_div(np.asarray(part), target.vector_width(itemsize))
        each = 16 + rows * columns * (6 * parts + 5 * vectors) + vectors
        workers = target.worker_contexts
        return as_cycles(workers * ceil_div(each, workers))

    def flops(self, windows: Mapping[str, Shape]) -> int:
        """A comparison and an addition for each window."""
        return 2 * math.prod(windows["dy"])

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """One window, and four that overlap; half of them hit."""
        one = {"places": (1, 1, 1, 4), "dy": (1, 1, 1, 4), "dx": (1, 4)}
        four = {"places": (2, 2, 2, 4), "dy": (2, 2, 2, 4), "dx": (2, 4)}
        more = {"places": (4, 3, 2, 4), "dy": (4, 3, 2, 4), "dx": (2, 4)}
        halves = {"places": "uint16", "dy": "float16", "dx": "float16"}
        return (
            Example(cls((0, 1), (2, 2), 3), one, {"places": "uint16"}, {"places": (0, 1)}, more),
            Example(cls((1, 1), (1, 1), 2), four, halves, {"places": (0, 3)}, more),
        )
