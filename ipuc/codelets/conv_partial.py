"""ConvPartialnx1: a block of a convolution, with the matrix unit."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from ipuc.codelets.amp import as_cycles, grouped_product, matrix_units, row_time
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
    elements,
    joined_pads,
)
from ipuc.codelets.half_sums import accumulate, groups
from ipuc.target import Target
from ipuc.types import Shape

#: Input channels that the matrix unit takes at once: chain depth 4 times the load width.
INPUT_GROUP = {4: 8, 2: 16}

#: Bytes of columns made at once. A whole layer of VGG-19 would take 115 MB an image.
COLUMN_BYTES = 32 << 20


@dataclass(frozen=True)
class ConvPartial(Codelet):
    """Partial sums of a convolution over a block of outputs and of input channels.

    x: [batch, group, in channels, *field], weights: [group, out channels, in channels, *kernel],
    out: [batch, group, out channels, *field]. Where the block touches the border of the field,
    the window holds only what exists, and `pads` says how much of the kernel's reach is missing.

    Attributes:
        stride: per field dimension.
        dilation: of the kernel, per field dimension.
        pads: zeros before and after the window, per field dimension.
        partials: element type of the sums. Where they are halves the matrix unit adds to them for
            each group of 16 input channels and each kernel position, and rounds each time.

    Source: PopLibs poplin PerformanceEstimation.hpp (AMP nx1; one kernel row fused when the input
    group fills the unit).
    """

    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    pads: tuple[tuple[int, int], ...]
    partials: str = "float32"

    name: ClassVar[str] = "ConvPartialnx1"
    fields: ClassVar[tuple[FieldSpec, ...]] = (In("x"), In("weights"), Out("out"))

    def compute(self, batch: Batch, **operands: Array) -> dict[str, Array]:
        """Gather each kernel position's inputs into columns, then multiply by the weights."""
        axes = batch.axes
        x, weights = operands["x"], operands["weights"]
        x = x[tuple(slice(0, 1) if x.strides[a] == 0 else slice(None) for a in range(axes))]
        columns = self._columns(x, batch.windows["out"][3:], batch.windows["weights"][3:])
        keep = tuple(slice(0, 1) if weights.strides[a] == 0 else slice(None) for a in range(axes))
        weights = weights[keep]
        if self.partials == "float16":
            products = (
                self._product(batch, columns[there], weights[here], None)
                for there, here in self._accumulations(axes, weights)
            )
            return {"out": accumulate(batch, "out", products)}
        return {"out": self._in_blocks(batch, columns, weights)}

    def _in_blocks(self, batch: Batch, columns: Array, weights: Array) -> Array:
        """Multiply block by block of images and output rows, so that columns stay small.

        Each element is the same dot product as without blocks. Its last bit may differ: matrix
        libraries add in another order at the edges of their own blocks.
        """
        axes = batch.axes
        into = batch.into.get("out")
        cuts = _cuts(columns, axes, axes + 3)
        if len(cuts) == 1:
            return self._product(batch, columns, weights, into)
        if into is None:
            lead = np.broadcast_shapes(columns.shape[:axes], weights.shape[:axes])
            into = np.empty((*lead, *batch.windows["out"]), np.result_type(columns, weights))
        for images, rows in cuts:
            here = (*(slice(None),) * axes, images, slice(None), slice(None), rows)
            place = into[here]
            made = self._product(batch, columns[here], weights, place)
            if made is not place:
                place[...] = made
        return into

    def _accumulations(
        self, axes: int, weights: Array
    ) -> Iterator[tuple[tuple[slice, ...], tuple[slice, ...]]]:
        """What the matrix unit adds at once, in its order: places in the columns and weights."""
        whole = slice(None)
        lead, field = (whole,) * (axes + 2), (whole,) * len(self.stride)
        for ins in groups(weights.shape[axes + 2]):
            for at in np.ndindex(*weights.shape[axes + 3 :]):
                position = tuple(slice(k, k + 1) for k in at)
                yield (*lead, ins, *field, *position), (*lead, ins, *position)

    def _product(self, batch: Batch, columns: Array, weights: Array, into: Array | None) -> Array:
        """Multiply weights by columns.

        Args:
            batch: the call.
            columns: [*grid, batch, group, in channels, *out, *kernel].
            weights: [*grid, group, out channels, in channels, *kernel].
            into: see `Batch.into`.

        Returns:
            [*grid, batch, group, out channels, *out]; `into` itself if that was filled.
        """
        axes, dims = batch.axes, len(self.stride)
        lead = list(range(axes))
        b, g, ci = axes, axes + 1, axes + 2
        out_axes = list(range(axes + 3, axes + 3 + dims))
        kernel_axes = list(range(axes + 3 + dims, axes + 3 + 2 * dims))
        depth = columns.shape[ci] * math.prod(columns.shape[a] for a in kernel_axes)
        right = columns.transpose(*lead, g, ci, *kernel_axes, b, *out_axes)
        right = right.reshape(
            *columns.shape[:axes],
            columns.shape[g],
            depth,
            columns.shape[b],
            *(columns.shape[a] for a in out_axes),
        )
        left = weights.reshape(*weights.shape[: axes + 2], depth)
        grid = (*batch.grid, columns.shape[g])
        place = None
        if into is not None:
            place = into.transpose(*lead, axes + 1, axes + 2, axes, *range(axes + 3, into.ndim))
        product = grouped_product(
            left, right, grid, left_rows=1, right_columns=1 + dims, into=place
        )
        if product is place and into is not None:
            return into
        # [*grid, group, out channels, batch, *out] -> [*grid, batch, group, out channels, *out]
        return product.transpose(*lead, axes + 2, axes, axes + 1, *range(axes + 3, product.ndim))

    def free_axes(self, windows: Mapping[str, Shape]) -> tuple[FreeAxis, ...]:
        """Images, groups, output channels, and outputs along each field dimension."""
        del windows
        slides = (
            FreeAxis({"x": 3 + d, "out": 3 + d}, slide=(("x",), stride, d))
            for d, stride in enumerate(self.stride)
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

    def _columns(self, x: Array, out: Shape, kernel: Shape) -> Array:
        """A view of x with an axis for each output and each kernel position."""
        dims = len(out)
        if any(p for pair in self.pads for p in pair):
            x = np.pad(x, ((0, 0),) * (x.ndim - dims) + self.pads)
        lead = x.ndim - dims
        steps = x.strides[lead:]
        return np.lib.stride_tricks.as_strided(
            x,
            (*x.shape[:lead], *out, *kernel),
            (
                *x.strides[:lead],
                *(s * n for s, n in zip(steps, self.stride, strict=True)),
                *(s * n for s, n in zip(steps, self.dilation, strict=True)),
            ),
            writeable=False,
        )

    def itemsize(self, sizes: Mapping[str, int]) -> int:
        """Bytes of an element of the operands; sums may be wider."""
        return sizes["x"]

    def cycles(
        self, target: Target, windows: Mapping[str, tuple[Number, ...]], itemsize: int
    ) -> Number:
        """Cycles of one vertex."""
        batch, groups, outs, *field = windows["out"]
        ins, *kernel = windows["weights"][2:]
        workers = target.worker_contexts
        full = INPUT_GROUP[4 if itemsize >= 4 else 2]
        half_sums = self.partials == "float16"
        units = matrix_units(target, itemsize, half_sums=half_sums)
        in_group = _in_group(ins, full)
        fused = full // in_group
        in_groups, out_groups = ceil_div(ins, in_group), ceil_div(outs, units)
        load = units * 32 // target.coefficient_load_bytes_per_cycle
        extra = np.select([fused == 1, fused == 2, fused == 4], [15, 46, 60], 20 * fused)
        rows = batch * elements(tuple(field[:-1]))
        slow, quick = row_time(rows, field[-1], workers, _row_cost(itemsize))
        slow, quick = slow + 17 + half_sums, quick + 17 + half_sums
        position = np.maximum(workers * slow, workers * quick + 9)
        outer, inner_kernel = ceil_div(kernel[0], fused), elements(tuple(kernel[1:]))
        if len(kernel) == 1:
            outer, inner_kernel = ceil_div(kernel[0], fused), 1
        inner = outer * (14 + inner_kernel * (12 + load + extra + 3))
        inner = inner + outer * inner_kernel * position
        outputs = rows * field[-1]
        zero = workers * out_groups * groups * (ceil_div(ceil_div(outputs * units, workers), 2) + 5)
        total = (
            109
            + (19 if itemsize < 4 and half_sums else 18) * workers
            + groups * (17 * out_groups + 6 * (out_groups - 1) + 1)
            + 6 * (groups - 1)
            + 1
            + groups * (16 + in_groups * (14 + out_groups * (14 + inner)))
            + zero
        )
        return as_cycles(total)

    def edges(self, windows: Mapping[str, Shape]) -> int:
        """One vector per input group, per pair of groups, and per output group."""
        groups, outs, ins = windows["weights"][:3]
        in_groups, out_groups = ceil_div(ins, int(_in_group(ins, 8))), ceil_div(outs, 8)
        return int(groups * (in_groups + in_groups * out_groups + out_groups))

    def flops(self, windows: Mapping[str, Shape]) -> int:
        """Two for each multiply-add of the dense block."""
        return 2 * math.prod(windows["out"]) * math.prod(windows["weights"][2:])

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """A plain block, a strided and dilated one at two borders, 1-D ones of halves."""
        line = {"x": (1, 1, 4, 5), "weights": (1, 2, 4, 3), "out": (1, 1, 2, 3)}
        longer = {"x": (1, 1, 40, 12), "weights": (1, 2, 40, 3), "out": (1, 1, 2, 10)}
        return (
            Example(
                cls((1, 1), (1, 1), ((0, 0), (0, 0))),
                {"x": (1, 1, 2, 4, 4), "weights": (1, 3, 2, 3, 3), "out": (1, 1, 3, 2, 2)},
                larger={"x": (1, 1, 20, 8, 8), "weights": (1, 6, 20, 3, 3), "out": (1, 1, 6, 6, 6)},
            ),
            Example(
                cls((2, 1), (1, 2), ((1, 0), (0, 1))),
                {"x": (2, 2, 3, 3, 3), "weights": (2, 2, 3, 2, 2), "out": (2, 2, 2, 2, 2)},
                larger={"x": (2, 2, 9, 7, 6), "weights": (2, 4, 9, 2, 2), "out": (2, 2, 4, 4, 5)},
            ),
            Example(
                cls((1,), (1,), ((0, 0),)),
                line,
                {"x": "float16", "weights": "float16"},
                larger=longer,
            ),
            Example(
                cls((1,), (1,), ((0, 0),), "float16"),
                line,
                dict.fromkeys(line, "float16"),
                larger=longer,
            ),
        )


def _cuts(columns: Array, images: int, rows: int) -> list[tuple[slice, slice]]:
    """Blocks of images and rows whose columns take about `COLUMN_BYTES`, no less than a row.

    Args:
        columns: see `ConvPartial._product`.
        images: axis of the images.
        rows: axis of the output rows.
    """
    wanted = -(-columns.size * columns.itemsize // COLUMN_BYTES)
    image_parts = max(min(wanted, columns.shape[images]), 1)
    row_parts = max(min(-(-wanted // image_parts), columns.shape[rows]), 1)
    if row_parts > 1:  # an image is too large: then each is cut for itself
        image_parts = columns.shape[images]
    return list(
        itertools.product(
            _even(columns.shape[images], image_parts), _even(columns.shape[rows], row_parts)
        )
    )


def _even(extent: int, parts: int) -> list[slice]:
    """Cut an extent into near equal parts, so that none is too small to be quick."""
    edges = [part * extent // parts for part in range(parts + 1)]
    return [slice(begin, end) for begin, end in itertools.pairwise(edges)]


def _in_group(ins: Number, full: int) -> Any:
    """Input channels per group: the unit's depth, or the smaller power of two that suffices."""
    ins = np.asarray(ins)
    return np.select([ins <= full // 4, ins <= full // 2], [full // 4, full // 2], full)


def _row_cost(itemsize: int) -> Any:
    def cost(n: Any) -> Any:
        n = np.asarray(n)
        if itemsize >= 4:
            return np.select([n == 0, n == 1, n == 2], [11, 27, 38], 39 + 8 * (n - 3))
        return np.select([n == 0, n == 1, n == 2], [11, 23, 28], 28 + 4 * (n - 3))

    return cost
