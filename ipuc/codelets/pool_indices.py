"""MaxPoolIndices: where each window's largest element lies."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from ipuc.codelets.amp import as_cycles
from ipuc.codelets.cycles.pool import places
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
    elements,
    joined_pads,
)
from ipuc.codelets.pool import lowest, shifted, sliding_axes
from ipuc.target import Target
from ipuc.types import Shape


@dataclass(frozen=True)
class MaxPoolIndices(Codelet):
    """The position of the first largest element of each window.

    x: [batch, channels, *field], only what exists; positions: the same, int32, the number to
    report for each element; out: [batch, channels, *out], int32.

    Attributes:
        kernel: window extents.
        stride: between outputs.
        dilation: between window elements.
        pads: elements missing before and after the window of the block, per dimension.

    Source: `ipuc.codelets.cycles.pool.places`.
    """

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    pads: tuple[tuple[int, int], ...]

    name: ClassVar[str] = "MaxPoolIndices"
    fields: ClassVar[tuple[FieldSpec, ...]] = (In("x"), In("positions"), Out("out"))

    def compute(self, batch: Batch, **operands: Array) -> dict[str, Array]:
        """Keep the position of the first largest element seen."""
        x, out = operands["x"], batch.windows["out"][2:]
        pads = ((0, 0),) * (x.ndim - len(out)) + self.pads
        x = np.pad(x, pads, constant_values=lowest(x.dtype))
        positions = np.pad(operands["positions"], pads)
        best: Array | None = None
        found: Array | None = None
        for place in itertools.product(*(range(k) for k in self.kernel)):
            start = tuple(p * d for p, d in zip(place, self.dilation, strict=True))
            seen = shifted(x, out, start, self.stride)
            here = shifted(positions, out, start, self.stride)
            if best is None or found is None:
                best, found = seen, here
            else:
                found = np.where(seen > best, here, found)
                best = np.maximum(best, seen)
        assert found is not None
        return {"out": found}

    def free_axes(self, windows: Mapping[str, Shape]) -> tuple[FreeAxis, ...]:
        """Images, channels, and outputs along each field dimension."""
        del windows
        return sliding_axes(tuple(spec.name for spec in self.fields), self.stride)

    def joined(self, dim: int, last: Codelet) -> Codelet:
        """Take what is missing before the first block and after the last."""
        pads = joined_pads(self, last, "pads", dim)
        return replace(self, pads=pads)

    def cycles(
        self, target: Target, windows: Mapping[str, tuple[Number, ...]], itemsize: int
    ) -> Number:
        """Cycles of one vertex."""
        del itemsize
        return as_cycles(places(target, elements(windows["out"]), self.kernel))

    def flops(self, windows: Mapping[str, Shape]) -> int:
        """One comparison for each output and kernel position."""
        return math.prod(windows["out"]) * math.prod(self.kernel)

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """A block at a border, strided and dilated."""
        return (
            Example(
                cls((2, 2), (1, 2), (1, 2), ((1, 0), (0, 0))),
                {"x": (1, 2, 3, 5), "positions": (1, 2, 3, 5), "out": (1, 2, 3, 2)},
                {"positions": "int32", "out": "int32"},
                larger={"x": (1, 9, 3, 5), "positions": (1, 9, 3, 5), "out": (1, 9, 3, 2)},
            ),
        )
