"""What a convolution is, and its one canonical form.

A matrix product is a convolution of one pixel, and the two gradients of a convolution are
convolutions again, so one record describes all of them.

Source: PopLibs ConvParams.cpp, ConvUtil.cpp (getGradientParams), Convolution.cpp
(getWeightUpdateParams).
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

from ipuc.errors import ShapeError


@dataclass(frozen=True, slots=True)
class Reach:
    """How an operand is seen along one dimension: truncate, then dilate, pad, flip.

    Attributes:
        trunc: elements dropped before and after.
        dilation: distance of neighbours; the places between hold zeros.
        pad: zeros before and after.
        flip: whether the result is read backwards.
    """

    trunc: tuple[int, int] = (0, 0)
    dilation: int = 1
    pad: tuple[int, int] = (0, 0)
    flip: bool = False

    def kept(self, size: int) -> int:
        """Elements left after truncation."""
        return max(size - sum(self.trunc), 0)

    def length(self, size: int) -> int:
        """Places that the convolution sees."""
        kept = self.kept(size)
        dilated = (kept - 1) * self.dilation + 1 if kept else 0
        return dilated + sum(self.pad)


@dataclass(frozen=True, slots=True)
class Yield:
    """How the result is seen along one dimension: truncate, then take every stride-th, then pad."""

    trunc: tuple[int, int] = (0, 0)
    stride: int = 1
    pad: tuple[int, int] = (0, 0)


@dataclass(frozen=True, slots=True)
class Dim:
    """One field dimension: two sizes, and how operands and result are seen along it."""

    size: int
    kernel: int
    data: Reach = Reach()
    weights: Reach = Reach()
    result: Yield = Yield()

    @property
    def places(self) -> int:
        """Valid positions of the kernel, before the result is truncated; never negative."""
        data, weights = self.data.length(self.size), self.weights.length(self.kernel)
        return max(data - weights + 1, 0)

    @property
    def computed(self) -> int:
        """Outputs that the convolution gives, without the zeros padded around them."""
        places = self.places - sum(self.result.trunc)
        return (places - 1) // self.result.stride + 1 if places > 0 else 0

    @property
    def out(self) -> int:
        """Outputs, padding included."""
        return self.computed + sum(self.result.pad)

    @property
    def step(self) -> int:
        """Distance of the outputs that one kernel element meets: the others see only zeros."""
        return self.data.dilation // math.gcd(self.data.dilation, self.result.stride)

    @property
    def is_plain(self) -> bool:
        """Whether the kernel is one element and nothing is moved: the dimension is like a batch."""
        return self.kernel == 1 and (self.data, self.weights, self.result) == (
            Reach(),
            Reach(),
            Yield(),
        )


@dataclass(frozen=True, slots=True)
class ConvParams:
    """A convolution, of `groups` independent ones.

    Attributes:
        itemsize: bytes of an element of either operand.
        out_itemsize: bytes of an element of the result.
        batch: images.
        dims: field dimensions, innermost last; two or more.
        in_channels: of one group.
        out_channels: of one group.
        groups: independent convolutions.
    """

    itemsize: int
    out_itemsize: int
    batch: int
    dims: tuple[Dim, ...]
    in_channels: int
    out_channels: int
    groups: int = 1

    def __post_init__(self) -> None:
        if min(self.batch, self.in_channels, self.out_channels, self.groups) < 1:
            raise ShapeError(
                f"a convolution needs at least one of everything: {self}",
                fix="give positive batch, channels and groups",
            )
        if any(dim.places < 1 for dim in self.dims):
            raise ShapeError(
                f"the kernel is larger than the padded field: {self.dims}",
                fix="add padding or use a smaller kernel",
            )

    @property
    def out_field(self) -> tuple[int, ...]:
        """Outputs along each dimension."""
        return tuple(dim.out for dim in self.dims)

    @property
    def macs(self) -> int:
        """Multiply-adds of the definition, those with padded zeros too."""
        total = self.batch * self.in_channels * self.out_channels * self.groups
        for dim in self.dims:
            total *= dim.computed * dim.weights.kept(dim.kernel)
        return total


def convolution(
    field: tuple[int, ...],
    kernel: tuple[int, ...],
    *,
    channels: tuple[int, int],
    batch: int = 1,
    stride: tuple[int, ...] | None = None,
    pads: tuple[tuple[int, int], ...] | None = None,
    groups: int = 1,
    itemsize: int = 2,
    out_itemsize: int | None = None,
) -> ConvParams:
    """Describe a forward convolution.

    Args:
        field: input extents.
        kernel: kernel extents.
        channels: input and output channels of one group.
        batch: images.
        stride: per dimension; 1 if None.
        pads: zeros before and after, per dimension; none if None.
        groups: convolution groups.
        itemsize: bytes of an element.
        out_itemsize: bytes of a result; as the operands if None.

    Raises:
        ShapeError: the kernel does not fit, or a count is not positive.
    """
    rank = len(field)
    stride, pads = stride or (1,) * rank, pads or ((0, 0),) * rank
    dims = tuple(
        Dim(size, k, Reach(pad=pad), Reach(), Yield(stride=s))
        for size, k, s, pad in zip(field, kernel, stride, pads, strict=True)
    )
    dims = (Dim(1, 1),) * (2 - rank) + dims
    out = itemsize if out_itemsize is None else out_itemsize
    return ConvParams(itemsize, out, batch, dims, *channels, groups)


def product(
    rows: int, depth: int, columns: int, *, groups: int = 1, itemsize: int = 2
) -> ConvParams:
    """Describe [groups, rows, depth] x [groups, depth, columns] as a convolution of one pixel."""
    dims = (Dim(1, 1), Dim(1, 1))
    return ConvParams(itemsize, itemsize, rows, dims, depth, columns, groups)


def data_gradient(forward: ConvParams) -> ConvParams:
    """Describe the gradient of the data; the weights come transposed and flipped beforehand."""
    dims = []
    for dim in forward.dims:
        reach = dim.weights.length(dim.kernel) - 1
        pad = (reach + dim.result.trunc[0], reach + dim.result.trunc[1])
        # Positions that a stride skips at the end are zeros of the gradient too.
        used = (dim.computed - 1) * dim.result.stride + 1 + sum(dim.result.trunc)
        data = Reach(
            trunc=dim.result.pad,
            dilation=dim.result.stride,
            pad=(pad[0], pad[1] + dim.places - used),
        )
        result = Yield(trunc=dim.data.pad, stride=dim.data.dilation, pad=dim.data.trunc)
        mirrored = dataclasses.replace(
            dim.weights, trunc=dim.weights.trunc[::-1], pad=dim.weights.pad[::-1]
        )
        dims.append(Dim(dim.out, dim.kernel, data, mirrored, result))
    return dataclasses.replace(
        forward,
        dims=tuple(dims),
        in_channels=forward.out_channels,
        out_channels=forward.in_channels,
    )


def weight_gradient(forward: ConvParams) -> ConvParams:
    """Describe the gradient of the weights: data convolved with the gradient of the result."""
    dims = []
    for dim in forward.dims:
        used = (dim.computed - 1) * dim.result.stride + 1 + sum(dim.result.trunc)
        weights = Reach(trunc=dim.result.pad, dilation=dim.result.stride, pad=dim.result.trunc)
        # Data that no output reads gives positions beyond the kernel's extent.
        result = Yield(
            trunc=(dim.weights.pad[0], dim.weights.pad[1] + dim.places - used),
            stride=dim.weights.dilation,
            pad=dim.weights.trunc,
        )
        dims.append(Dim(dim.size, dim.out, dim.data, weights, result))
    return dataclasses.replace(
        forward, dims=tuple(dims), batch=forward.in_channels, in_channels=forward.batch
    )


def canonical(params: ConvParams) -> ConvParams:
    """Write equal convolutions equally, so that they share one plan.

    Outputs that are known to be zero become padding of the result, elements that nothing reads are
    truncated, a stride of one output is one, and padding cancels against truncation.

    Source: PopLibs ConvParams.cpp, canonicalize (the laws, not the steps).
    """
    return dataclasses.replace(params, dims=tuple(canonical_dim(dim) for dim in params.dims))


def canonical_dim(dim: Dim) -> Dim:
    """Canonical form of one dimension; idempotent, and keeps `out`."""
    # Dropping elements of one operand may leave some of the other unread.
    while (made := _simplified(dim)) != dim:
        dim = made
    return dim


def _simplified(dim: Dim) -> Dim:
    """One round of simplification."""
    data, weights, result = dim.data, dim.weights, dim.result
    low, high = _touched(data, data.length(dim.size))
    first, last = _touched(weights, weights.length(dim.kernel))
    # Output j sits at place trunc + j * stride and sees data place t + k for kernel place k.
    begin, stride, count = result.trunc[0], result.stride, dim.computed
    head = max(-(-(low - last - begin) // stride), 0)
    tail = min((high - first - begin) // stride, count - 1)
    if not (data.kept(dim.size) and weights.kept(dim.kernel) and head <= tail):
        return dim  # all zeros: there is nothing to simplify towards
    start, stop = begin + head * stride, begin + tail * stride
    pad = (result.pad[0] + head, result.pad[1] + count - 1 - tail)
    data, low, high = _trimmed(data, dim.size, (start + first, stop + last))
    weights, first, last = _trimmed(weights, dim.kernel, (low - stop, high - start))
    before, after = start + first - low, high - stop - last
    padding = _turned((max(-before, 0), max(-after, 0)), data.flip)
    return Dim(
        dim.size,
        dim.kernel,
        _simplest(dataclasses.replace(data, pad=padding), dim.size),
        _simplest(dataclasses.replace(weights, pad=(0, 0)), dim.kernel),
        Yield((max(before, 0), max(after, 0)), stride if tail > head else 1, pad),
    )


def _simplest(reach: Reach, size: int) -> Reach:
    """Drop a dilation and a flip that change nothing."""
    alone = reach.kept(size) == 1
    flip = reach.flip and reach.length(size) > 1
    return dataclasses.replace(reach, dilation=1 if alone else reach.dilation, flip=flip)


def _turned(pair: tuple[int, int], flip: bool) -> tuple[int, int]:
    return (pair[1], pair[0]) if flip else pair


def _touched(reach: Reach, length: int) -> tuple[int, int]:
    """First and last place of an operand that holds an element, flips applied."""
    before, after = _turned(reach.pad, reach.flip)
    return before, length - 1 - after


def _trimmed(reach: Reach, size: int, window: tuple[int, int]) -> tuple[Reach, int, int]:
    """Drop elements outside a window of places.

    Returns:
        The reach with more truncation, and the first and last place that still holds an element.
    """
    low, high = _touched(reach, reach.length(size))
    step, kept = reach.dilation, reach.kept(size)
    head = min(max(-(-(window[0] - low) // step), 0), kept - 1)
    tail = min(max(-(-(high - window[1]) // step), 0), kept - 1 - head)
    more = _turned((head, tail), reach.flip)
    trunc = (reach.trunc[0] + more[0], reach.trunc[1] + more[1])
    return dataclasses.replace(reach, trunc=trunc), low + head * step, high - tail * step
