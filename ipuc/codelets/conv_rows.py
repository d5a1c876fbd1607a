"""What the convolution vertices of 2017 share: lists of weights, input rows and output rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ipuc.codelets.amp import as_cycles, first_of_shared, row_time, shared_axes
from ipuc.codelets.conv_partial import ConvPartial
from ipuc.codelets.define import (
    Array,
    Batch,
    Codelet,
    FieldSpec,
    In,
    Number,
    Out,
    ceil_div,
)
from ipuc.target import Target
from ipuc.types import Shape

#: Input channels of all kernel rows that are taken at once: what the matrix unit multiplies.
FULL_GROUP = 16


@dataclass(frozen=True)
class ConvRows(Codelet):
    """Sums of a convolution for one group of output channels.

    x: [in groups, y, x, in group], weights: [in groups, ky, kx, out group, in group], out: [y, x,
    out group]. Along each field dimension input i meets output o and kernel element k where
    i * spread = o * stride + k * dilation - pad before. The window of x holds only what exists,
    from the first input that the block reads.

    Attributes:
        stride: along y and x.
        dilation: of the kernel, along y and x.
        pads: places before and after the window that hold no input, along y and x.
        partials: element type of the sums. Halves are rounded each time the hardware adds to them.
        spread: dilation of the data, along y and x.

    Source: the cost of a vertex in PopLibs' convolution planner of winter 2016/17: for each in
    group, fused kernel rows and kernel column 16 + 6 x the slowest worker + 6 cycles; a worker
    takes 10, and h + 1 + 4n for a piece of n outputs with h kernel rows fused.
    """

    stride: tuple[int, int]
    dilation: tuple[int, int]
    pads: tuple[tuple[int, int], tuple[int, int]]
    partials: str = "float32"
    spread: tuple[int, int] = (1, 1)

    fields: ClassVar[tuple[FieldSpec, ...]] = (In("x"), In("weights"), Out("out"))

    def inner(self, in_group: int) -> ConvPartial:
        """A vertex of another layout that makes the same sums.

        A group of channels, and the kernel rows that fill the unit, are added at once.
        """
        return ConvPartial(
            self.stride,
            self.dilation,
            self.pads,
            self.partials,
            self.spread,
            min(in_group, FULL_GROUP),
            8,
        )

    def sums(self, batch: Batch, x: Array, weights: Array) -> Array:
        """The sums, [*grid, y, x, out group]; operands that are shared are rearranged once."""
        axes = batch.axes
        x = first_of_shared(x, shared_axes(x, axes))
        weights = first_of_shared(weights, shared_axes(weights, axes))
        groups, rows, columns, in_group = x.shape[axes:]
        ky, kx, out_group = weights.shape[axes + 1 : axes + 4]
        out_rows, out_columns, _ = batch.windows["out"]
        # [..., in groups, in group, y, x]; one image and one convolution group before them
        data = np.moveaxis(x, -1, axes + 1).reshape(
            (*x.shape[:axes], 1, 1, groups * in_group, rows, columns)
        )
        # [..., out group, in groups, in group, ky, kx]
        order = [*range(axes), *(axes + a for a in (3, 0, 4, 1, 2))]
        kernels = weights.transpose(order).reshape(
            (*weights.shape[:axes], 1, out_group, groups * in_group, ky, kx)
        )

        def rounded(name: str, made: Array, number: int) -> Array:
            turned = batch.rounded(name, _turned(made, axes), number)
            back = np.moveaxis(turned, -1, axes)
            return back.reshape((*back.shape[:axes], 1, 1, *back.shape[axes:]))

        windows = {
            "x": data.shape[axes:],
            "weights": kernels.shape[axes:],
            "out": (1, 1, out_group, out_rows, out_columns),
        }
        inside = Batch(batch.grid, windows, rounded)
        made = self.inner(in_group).compute(inside, x=data, weights=kernels)["out"]
        return _turned(made, axes)

    def itemsize(self, sizes: Mapping[str, int]) -> int:
        """Bytes of an element of the operands; sums may be wider."""
        return sizes["x"]

    @property
    def on_matrix_unit(self) -> bool:
        """It does."""
        return True

    def cycles(
        self, target: Target, windows: Mapping[str, tuple[Number, ...]], itemsize: int
    ) -> Number:
        """Cycles of one vertex."""
        del itemsize
        groups, ky, kx, _, in_group = windows["weights"]
        rows, columns, _ = windows["out"]
        return as_cycles(row_cycles(target, (rows, columns), (ky, kx), groups, in_group))

    def flops(self, windows: Mapping[str, Shape]) -> int:
        """Two for each multiply-add, zeros of the border included, those of a spread not."""
        groups, ky, kx, out_group, in_group = windows["weights"]
        rows, columns, _ = windows["out"]
        inside = {
            "x": (1, 1, 1, 1, 1),
            "weights": (1, out_group, groups * in_group, ky, kx),
            "out": (1, 1, out_group, rows, columns),
        }
        return self.inner(in_group).flops(inside)


def _turned(made: Array, axes: int) -> Array:
    """[*grid, 1, 1, out group, y, x] as [*grid, y, x, out group]."""
    return np.moveaxis(made.reshape((*made.shape[:axes], *made.shape[axes + 2 :])), axes, -1)


def row_cycles(
    target: Target,
    block: tuple[Number, Number],
    kernel: tuple[Number, Number],
    in_groups: Number,
    in_group: Number,
) -> Number:
    """Cycles of one out group of one tile; see `ConvRows` for the source.

    Args:
        target: the machine.
        block: rows and columns of outputs.
        kernel: its extents.
        in_groups: groups of input channels.
        in_group: input channels in a group.
    """
    fused = FULL_GROUP // np.minimum(np.asarray(in_group), FULL_GROUP)
    workers = target.worker_contexts
    slowest, _ = row_time(*block, workers, lambda n: fused + 1 + 4 * n)
    positions = ceil_div(kernel[0], fused) * kernel[1]
    return in_groups * positions * (16 + workers * (10 + slowest) + 6)
