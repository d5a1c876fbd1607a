"""What all convolution vertices share: their fields, and their meaning in NumPy."""

from __future__ import annotations

import itertools
import math
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from ipuc.codelets.amp import first_of_shared, shared_axes
from ipuc.codelets.conv_blocks import Convolution, convolve
from ipuc.codelets.conv_phases import met
from ipuc.codelets.cycles.amp import Block
from ipuc.codelets.define import (
    Array,
    Batch,
    Codelet,
    FieldSpec,
    FreeAxis,
    In,
    Number,
    Out,
    ceil_div,
    elements,
    joined_pads,
)
from ipuc.codelets.half_sums import accumulate, groups
from ipuc.codelets.threads import Crew
from ipuc.types import Shape


@dataclass(frozen=True)
class ConvVertex(Codelet):
    """Partial sums of a convolution over a block of outputs and of input channels.

    x: [batch, group, in channels, *field], weights: [group, out channels, in channels, *kernel],
    out: [batch, group, out channels, *field]. Along each field dimension input i meets output o and
    kernel element k where i * spread = o * stride + k * dilation - pad before. The window of x
    holds only what exists, from the first input that the block reads; the last group of channels
    may be short: zeros are not stored.

    Attributes:
        stride: per field dimension.
        dilation: of the kernel, per field dimension.
        pads: places before and after the window that hold no input, per field dimension. With a
            spread s, a window of n elements takes (n - 1) * s + 1 places.
        partials: element type of the sums. Halves are rounded each time the hardware adds to them.
        spread: dilation of the data, per field dimension: inputs lie that far apart, with zeros
            between them. The gradient of a strided convolution has it. Empty: 1 everywhere.
        in_group: input channels that the vertex takes at once; 0: as many as it can use.
        out_group: output channels that it makes at once; 0: as many as it can make.
    """

    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    pads: tuple[tuple[int, int], ...]
    partials: str = "float32"
    spread: tuple[int, ...] = ()
    in_group: int = 0
    out_group: int = 0

    multiplies: ClassVar[bool] = True
    fields: ClassVar[tuple[FieldSpec, ...]] = (In("x"), In("weights"), Out("out"))

    def __post_init__(self) -> None:
        if not self.spread:
            object.__setattr__(self, "spread", (1,) * len(self.stride))

    @abstractmethod
    def together(self, ins: int, dims: int) -> tuple[int, tuple[int, ...]]:
        """What is added to sums in halves at once: input channels, kernel elements by dimension.

        Args:
            ins: input channels of the block.
            dims: field dimensions.
        """

    def compute(self, batch: Batch, **operands: Array) -> dict[str, Array]:
        """Gather each kernel element's inputs into columns, then multiply by the weights."""
        axes = batch.axes
        x, weights = (
            first_of_shared(operand, shared_axes(operand, axes))
            for operand in (operands["x"], operands["weights"])
        )
        low = tuple(-before for before, _ in self.pads)
        if self.partials == "float16":
            products = (
                self._convolved(batch, x[there], weights[here], begin)
                for there, here, begin in self._accumulations(axes, weights, low)
            )
            return {"out": accumulate(batch, "out", products)}
        into = batch.into.get("out")
        if into is None:
            return {"out": self._convolved(batch, x, weights, low)}
        convolve(self._problem(x, weights, low), into, batch.start)
        return {"out": into}

    def _convolved(self, batch: Batch, x: Array, weights: Array, low: tuple[int, ...]) -> Array:
        """A convolution in new memory: [*grid, *out window], grid axes that share all extent 1."""
        axes, crew = batch.axes, Crew()
        lead = np.broadcast_shapes(x.shape[:axes], weights.shape[:axes])
        into = np.empty((*lead, *batch.windows["out"]), np.result_type(x, weights))
        convolve(self._problem(x, weights, low), into, crew.start)
        crew.finish()
        return into

    def _problem(self, x: Array, weights: Array, low: tuple[int, ...]) -> Convolution:
        return Convolution(x, weights, low, self.stride, self.dilation, self.spread)

    def _accumulations(
        self, axes: int, weights: Array, low: tuple[int, ...]
    ) -> Iterator[tuple[tuple[slice, ...], tuple[slice, ...], tuple[int, ...]]]:
        """What is added to sums in halves at once, in the order of the hardware.

        Yields:
            Places in the inputs and in the weights, and the place of those weights' first element
            under the first output.
        """
        lead = (slice(None),) * (axes + 2)
        ins, kernel = weights.shape[axes + 2], weights.shape[axes + 3 :]
        channels, together = self.together(ins, len(kernel))
        for some in groups(ins, channels):
            for at in itertools.product(
                *(range(0, k, n) for k, n in zip(kernel, together, strict=True))
            ):
                here = tuple(slice(k, k + n) for k, n in zip(at, together, strict=True))
                begin = tuple(b + k * n for b, k, n in zip(low, at, self.dilation, strict=True))
                yield (*lead, some), (*lead, some, *here), begin

    def free_axes(self, windows: Mapping[str, Shape]) -> tuple[FreeAxis, ...]:
        """Images, groups, output channels, and outputs along dimensions without spread.

        With a spread, the first input of a part and its border depend on the part's phase, so
        parts are not joined along such a dimension.
        """
        del windows
        slides = (
            FreeAxis({"x": 3 + d, "out": 3 + d}, slide=(("x",), stride, d))
            for d, (stride, spread) in enumerate(zip(self.stride, self.spread, strict=True))
            if spread == 1
        )
        return (
            FreeAxis({"weights": 1, "out": 2}),
            *slides,
            FreeAxis({"x": 0, "out": 0}),
            FreeAxis({"x": 1, "weights": 0, "out": 1}),
        )

    def joined(self, dim: int, last: Codelet) -> Codelet:
        """Take the zeros before the first block and those after the last."""
        return replace(self, pads=joined_pads(self, last, "pads", dim))

    def itemsize(self, sizes: Mapping[str, int]) -> int:
        """Bytes of an element of the operands; sums may be wider."""
        return sizes["x"]

    @property
    def partial_bytes(self) -> int:
        """Bytes of a partial sum."""
        return np.dtype(self.partials).itemsize

    def block(
        self, windows: Mapping[str, tuple[Number, ...]], in_group: Number, out_group: Number
    ) -> Block:
        """What the cycle formulas ask about a vertex.

        Args:
            windows: shape of each field's window; entries may be arrays (planner columns).
            in_group: input channels that the vertex takes at once.
            out_group: output channels that it makes at once.
        """
        batch, groups, outs, *field = windows["out"]
        ins, *kernel = windows["weights"][2:]
        # A kernel element meets only every step-th output of spread data.
        touched = [
            ceil_div(o, spread // math.gcd(spread, stride))
            for o, spread, stride in zip(field, self.spread, self.stride, strict=True)
        ]
        # Source: PopLibs poplin adds field dimensions of one element where there are less than two.
        one = (1,) * (2 - len(field))
        touched = [*one, *touched]
        return Block(
            rows=batch * elements(tuple(touched[:-1])),
            width=touched[-1],
            outputs=batch * elements(tuple(field)),
            groups=groups,
            in_groups=ceil_div(ins, in_group),
            in_group=in_group,
            out_groups=ceil_div(outs, out_group),
            out_group=out_group,
            kernel=(*one, *kernel),
        )

    def worklists(self, kernel: tuple[int, ...], ins: int, itemsize: int) -> int:
        """Worklists of a worker: one for each kernel element, or for those done together.

        Args:
            kernel: kernel elements along each dimension; two dimensions or more.
            ins: input channels of the block.
            itemsize: bytes of an element of the operands.

        Source: PopLibs poplin ConvVertices.cpp.
        """
        del ins, itemsize
        return math.prod(kernel)

    def row_pieces(self, windows: Mapping[str, Shape], workers: int, itemsize: int) -> int:
        """Rows of outputs are cut into equal runs, so there are a few more pieces than rows."""
        block = self.block(windows, 1, 1)
        lists = self.worklists(block.kernel, windows["weights"][2], itemsize)
        return int(lists * (block.rows + workers - 1))

    def flops(self, windows: Mapping[str, Shape]) -> int:
        """Two for each multiply-add, zeros of the border included, those of a spread not."""
        batch, groups, outs, *field = windows["out"]
        ins, *kernel = windows["weights"][2:]
        sizes = (field, kernel, self.pads, self.stride, self.dilation, self.spread)
        pairs = (
            met(out, k, -before, stride, dilation, spread)
            for out, k, (before, _), stride, dilation, spread in zip(*sizes, strict=True)
        )
        return 2 * batch * groups * outs * ins * math.prod(pairs)


def vectors(groups: int, in_groups: int, out_groups: int) -> int:
    """Vector edges of inputs, weights and results, one for each group of channels.

    Source: PopLibs poplin ConvVertices.cpp.
    """
    return groups * (in_groups + out_groups * in_groups + out_groups)
