"""Pool: the largest, mean or norm of each sliding window."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from ipuc.codelets.amp import as_cycles
from ipuc.codelets.cycles.pool import forward_meets, row_pieces, vertex
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
    joined_pads,
)
from ipuc.target import Target
from ipuc.types import Shape


def lowest(dtype: np.dtype[Any]) -> Any:
    """The value that no element is below: what padding counts as under max."""
    return -np.inf if dtype.kind == "f" else np.iinfo(dtype).min


def shifted(x: Array, out: Shape, start: tuple[int, ...], stride: tuple[int, ...]) -> Array:
    """The element that each output sees at one kernel position: [..., *out], a view."""
    lead = (slice(None),) * (x.ndim - len(out))
    ends = [b + (n - 1) * s + 1 for b, n, s in zip(start, out, stride, strict=True)]
    steps = zip(start, ends, stride, strict=True)
    return x[(*lead, *(slice(b, e, s) for b, e, s in steps))]


def sliding_axes(names: tuple[str, ...], stride: tuple[int, ...]) -> tuple[FreeAxis, ...]:
    """Free axes of fields shaped [batch, channels, *field], the last of which is the output."""
    slides = (
        FreeAxis(dict.fromkeys(names, 2 + d), slide=(names[:-1], step, d))
        for d, step in enumerate(stride)
    )
    return (*(FreeAxis(dict.fromkeys(names, a)) for a in (0, 1)), *slides)


@dataclass(frozen=True)
class Pool(Codelet):
    """Pool a block of channels and outputs.

    x: [batch, channels, *field], only what exists; out: [batch, channels, *out].

    Attributes:
        kind: "max", "mean" or "norm".
        kernel: window extents.
        stride: between outputs.
        dilation: between window elements.
        pads: elements missing before and after the window of the block, per dimension.
        counted: how many of those a mean counts as zeros, per dimension.
        power: p of the norm.
        group: channels that lie together on the tile.
        apart: windows neither overlap nor meet padding, so that all outputs are one row.

    Source: PopLibs popnn PerformanceEstimation.hpp; the power of a norm is not charged.
    """

    kind: str
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    pads: tuple[tuple[int, int], ...]
    counted: tuple[tuple[int, int], ...]
    power: int = 2
    group: int = 16
    apart: bool = False

    name: ClassVar[str] = "Pooling"
    fields: ClassVar[tuple[FieldSpec, ...]] = (In("x"), Out("out"))

    def compute(self, batch: Batch, **operands: Array) -> dict[str, Array]:
        """Combine kernel position by kernel position."""
        x, out = operands["x"], batch.windows["out"][2:]
        dims = len(out)
        if any(p for pair in self.pads for p in pair):
            value = lowest(x.dtype) if self.kind == "max" else 0
            x = np.pad(x, ((0, 0),) * (x.ndim - dims) + self.pads, constant_values=value)
        total: Array | None = None
        for position in itertools.product(*(range(k) for k in self.kernel)):
            start = tuple(p * d for p, d in zip(position, self.dilation, strict=True))
            seen = shifted(x, out, start, self.stride)
            if self.kind == "norm":
                seen = np.abs(seen) ** self.power
            if total is None:
                total = seen.copy()
            elif self.kind == "max":
                np.maximum(total, seen, out=total)
            else:
                total += seen
        assert total is not None
        if self.kind == "mean":
            total = total / self._counts(batch.windows["x"][2:], out).astype(total.dtype)
        elif self.kind == "norm":
            total = total ** (1.0 / self.power)
        return {"out": total}

    def _counts(self, field: Shape, out: Shape) -> Array:
        """Elements that each output's mean divides by: [*out]."""
        counts = np.ones((), np.int64)
        for d, (extent, outs) in enumerate(zip(field, out, strict=True)):
            (before, _), (low, high) = self.pads[d], self.counted[d]
            place = (
                np.arange(outs)[:, None] * self.stride[d]
                + np.arange(self.kernel[d])[None, :] * self.dilation[d]
                - before
            )
            counts = counts[..., None] * ((place >= -low) & (place < extent + high)).sum(axis=1)
        return np.maximum(counts, 1)

    def free_axes(self, windows: Mapping[str, Shape]) -> tuple[FreeAxis, ...]:
        """Images, channels, and outputs along each field dimension."""
        del windows
        return sliding_axes(tuple(spec.name for spec in self.fields), self.stride)

    def joined(self, dim: int, last: Codelet) -> Codelet:
        """Take what is missing before the first block and after the last."""
        pads = joined_pads(self, last, "pads", dim)
        return replace(self, pads=pads, counted=joined_pads(self, last, "counted", dim))

    def cycles(
        self, target: Target, windows: Mapping[str, tuple[Number, ...]], itemsize: int
    ) -> Number:
        """Cycles of one vertex."""
        batch, channels, *sizes = windows["out"]
        geometry = zip(sizes, self.kernel, self.stride, self.dilation, self.pads, strict=True)
        made = vertex(
            target,
            "max" if self.kind == "max" else "sum",
            batch=batch,
            channels=channels,
            group=self.group,
            sizes=sizes,
            meets=[forward_meets(*dim) for dim in geometry],
            itemsize=itemsize,
            apart=self.apart,
        )
        return as_cycles(made)

    def edges(self, windows: Mapping[str, Shape]) -> int:
        """One vector of input and one of output for each group of channels."""
        return 2 * int(ceil_div(windows["out"][1], self.group))

    def row_pieces(self, windows: Mapping[str, Shape], workers: int, itemsize: int) -> int:
        """One list for each row piece, with an entry for each kernel position."""
        del itemsize
        return row_pieces(windows["out"], self.kernel, workers)

    def flops(self, windows: Mapping[str, Shape]) -> int:
        """One operation for each output and kernel position."""
        return math.prod(windows["out"]) * math.prod(self.kernel)

    def formula(self, target: Target, windows: Mapping[str, Shape], itemsize: int) -> str:
        """The formula of `cycles` with its numbers."""
        made, workers = int(self.cycles(target, windows, itemsize)), target.worker_contexts
        busiest = (made - 13) // workers
        return (
            f"13 + {workers} x {busiest} = {made:,}; {busiest} are the busiest worker's: its "
            "start, clearing the outputs, and its row pieces at every kernel position"
        )

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """Each kind at a border, strided and dilated; and a maximum of integers."""
        small = {"x": (1, 3, 3, 5), "out": (1, 3, 3, 2)}
        larger = {"x": (2, 30, 3, 5), "out": (2, 30, 3, 2)}
        border = ((1, 0), (0, 0))
        block = ((2, 2), (1, 2), (1, 2), border)
        numbers = dict.fromkeys(small, "int32")
        return (
            *(Example(cls(k, *block, border), small, larger=larger) for k in ("max", "mean")),
            Example(cls("norm", *block, border, 3), small, larger=larger),
            Example(cls("max", *block, border), small, numbers, larger=larger),
        )
