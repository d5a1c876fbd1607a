"""ConvComplete: finished sums get their bias, and lie as the next layer reads them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from ipuc.codelets.amp import as_cycles
from ipuc.codelets.define import (
    Array,
    Batch,
    Codelet,
    Example,
    FieldSpec,
    FreeAxis,
    In,
    Number,
    Out,
    ceil_div,
)
from ipuc.target import Target
from ipuc.types import Shape


class ConvComplete(Codelet):
    """out = x + bias, regrouped: some pixels of one group of channels.

    x: [parts of the group, pixels, channels of a part], bias: [group], out: [pixels, group]. In the
    vertex of 2017 every pixel has an entry for its result, and one for each part of its sums.

    Source: PopLibs, winter 2016/17, adds 64 bits of one part a cycle; 5 cycles around each part and
    15 of each worker around them are our own estimate.
    """

    name: ClassVar[str] = "ConvComplete"
    fields: ClassVar[tuple[FieldSpec, ...]] = (In("x"), In("bias"), Out("out"))

    def compute(self, batch: Batch, **operands: Array) -> dict[str, Array]:
        """Bring the parts of a pixel together, then add."""
        axes = batch.axes
        x = np.moveaxis(operands["x"], axes, axes + 1)
        bias = operands["bias"].reshape((*operands["bias"].shape[:axes], 1, *x.shape[axes + 1 :]))
        return {"out": (x + bias).reshape(batch.full("out"))}

    def free_axes(self, windows: Mapping[str, Shape]) -> tuple[FreeAxis, ...]:
        """The pixels."""
        del windows
        return (FreeAxis({"x": 1, "out": 0}),)

    def itemsize(self, sizes: Mapping[str, int]) -> int:
        """Bytes of an element of the result."""
        return sizes["out"]

    def cycles(
        self, target: Target, windows: Mapping[str, tuple[Number, ...]], itemsize: int
    ) -> Number:
        """Cycles of one vertex."""
        parts, pixels, channels = windows["x"]
        vectors = ceil_div(np.asarray(channels), target.vector_width(itemsize))
        mine = ceil_div(np.asarray(pixels), target.worker_contexts)
        return as_cycles(target.worker_contexts * (15 + mine * parts * (5 + vectors)))

    def flops(self, windows: Mapping[str, Shape]) -> int:
        """One addition for each result."""
        pixels, group = windows["out"]
        return pixels * group

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """Two parts of eight channels, one of four; halves."""
        two = {"x": (2, 3, 8), "bias": (16,), "out": (3, 16)}
        one = {"x": (1, 3, 4), "bias": (4,), "out": (3, 4)}
        return (
            Example(cls(), two, larger={"x": (2, 30, 8), "bias": (16,), "out": (30, 16)}),
            Example(
                cls(),
                one,
                dict.fromkeys(one, "float16"),
                larger={"x": (1, 30, 4), "bias": (4,), "out": (30, 4)},
            ),
        )
