"""What all convolution vertices share: their fields, and their meaning in NumPy."""

from __future__ import annotations

import itertools
import math
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from ipuc.codelets.amp import first_of_shared, grouped_product, merged, shared_axes
from ipuc.codelets.conv_phases import Phase, met, phases
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
from ipuc.types import Shape

#: Bytes of columns made at once. A whole layer of VGG-19 would take 115 MB an image.
COLUMN_BYTES = 32 << 20


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
                self._convolve(batch, x[there], weights[here], begin, None)
                for there, here, begin in self._accumulations(axes, weights, low)
            )
            return {"out": accumulate(batch, "out", products)}
        return {"out": self._convolve(batch, x, weights, low, batch.into.get("out"))}

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

    def _convolve(
        self, batch: Batch, x: Array, weights: Array, low: tuple[int, ...], into: Array | None
    ) -> Array:
        """Convolve phase by phase: outputs that meet the same kernel elements are done together.

        Args:
            batch: the call.
            x: [*grid, batch, group, in channels, *field].
            weights: [*grid, group, out channels, in channels, *kernel].
            low: place that the first output sees with the first of these kernel elements, counted
                from the window's first element.
            into: see `Batch.into`.

        Returns:
            [*grid, batch, group, out channels, *out]; `into` itself if that was filled.
        """
        axes = batch.axes
        out, kernel = batch.windows["out"][3:], weights.shape[axes + 3 :]
        ways = [
            phases(*size)
            for size in zip(out, kernel, low, self.stride, self.dilation, self.spread, strict=True)
        ]
        if all(spread == 1 for spread in self.spread):
            return self._phase(x, weights, [way[0] for way in ways], batch, into)
        if into is None:
            lead = np.broadcast_shapes(x.shape[:axes], weights.shape[:axes])
            into = np.empty((*lead, *batch.windows["out"]), np.result_type(x, weights))
        whole = (slice(None),) * (axes + 3)
        for way in itertools.product(*ways):
            place = into[(*whole, *(phase.out_slice for phase in way))]
            taken = weights[(*whole, *(phase.kernel_slice for phase in way))]
            if taken.size:
                made = self._phase(x, taken, list(way), batch, place)
                if made is not place:
                    place[...] = made
            else:
                place[...] = 0
        return into

    def _phase(
        self, x: Array, weights: Array, way: list[Phase], batch: Batch, into: Array | None
    ) -> Array:
        """A convolution without spread: multiply block by block, so that columns stay small.

        Each element is the same dot product as without blocks. Its last bit may differ: matrix
        libraries add in another order at the edges of their own blocks.
        """
        axes = batch.axes
        columns = _columns(x, way)
        cuts = _cuts(columns, axes, axes + 3)
        if len(cuts) == 1:
            return self._product(batch, columns, weights, into)
        if into is None:
            lead = np.broadcast_shapes(columns.shape[:axes], weights.shape[:axes])
            window = (*batch.windows["out"][:3], *(phase.outs for phase in way))
            into = np.empty((*lead, *window), np.result_type(columns, weights))
        for images, rows in cuts:
            here = (*(slice(None),) * axes, images, slice(None), slice(None), rows)
            place = into[here]
            made = self._product(batch, columns[here], weights, place)
            if made is not place:
                place[...] = made
        return into

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
        deep = [ci, *kernel_axes]
        if merged(weights.shape[axes + 2 :], weights.strides[axes + 2 :]) is None:
            # A part of a kernel must be copied: channel by channel the runs are longer.
            deep = [*kernel_axes, ci]
            weights = np.moveaxis(weights, axes + 2, -1)
        right = columns.transpose(*lead, g, *deep, b, *out_axes)
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


def _columns(x: Array, way: list[Phase]) -> Array:
    """A view of x with an axis for each output and each kernel element of a phase."""
    lead = x.ndim - len(way)
    kept, pads = [slice(None)] * lead, [(0, 0)] * lead
    for size, phase in zip(x.shape[lead:], way, strict=True):
        begin, end = phase.begin, phase.begin + phase.reach
        first = min(max(begin, 0), size)
        last = max(min(end, size), first)
        before = min(max(-begin, 0), phase.reach)
        kept.append(slice(first, last))
        pads.append((before, phase.reach - before - (last - first)))
    x = x[tuple(kept)]
    if any(itertools.chain.from_iterable(pads)):
        x = np.pad(x, pads)
    steps = x.strides[lead:]
    return np.lib.stride_tricks.as_strided(
        x,
        (*x.shape[:lead], *(phase.outs for phase in way), *(phase.kernel for phase in way)),
        (
            *x.strides[:lead],
            *(s * phase.stride for s, phase in zip(steps, way, strict=True)),
            *(s * phase.dilation for s, phase in zip(steps, way, strict=True)),
        ),
        writeable=False,
    )


def _cuts(columns: Array, images: int, rows: int) -> list[tuple[slice, slice]]:
    """Blocks of images and rows whose columns take about `COLUMN_BYTES`, no less than a row.

    Args:
        columns: see `ConvVertex._product`.
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
