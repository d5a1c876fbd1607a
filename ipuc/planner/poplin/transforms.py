"""Rewritings of a convolution into one that vertices can do better.

Each is a view or a copy of the operands before the vertices run, and of the result afterwards.
None changes what is computed.

Source: PopLibs ConvPlan.cpp (createPlan, swapOperands, expandSpatialDims, flattening), names and
order too.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from ipuc.planner.poplin.params import ConvParams, Dim, Yield, canonical


@dataclass(frozen=True, slots=True)
class Transforms:
    """The choices of one candidate.

    Attributes:
        swap: data and weights change places.
        expand: dimensions whose kernel becomes input channels.
        flatten_out: dimensions whose outputs become output channels.
        dilate_after: dimensions whose dilation of the data is done on the result.
    """

    swap: bool = False
    expand: tuple[int, ...] = ()
    flatten_out: tuple[int, ...] = ()
    dilate_after: tuple[int, ...] = ()


def dilate_after(params: ConvParams) -> tuple[ConvParams, tuple[int, ...]]:
    """Undo dilations that can as well be done on the result.

    A dilated input with a kernel of one element gives zeros between its outputs.
    """
    chosen = tuple(
        index
        for index, dim in enumerate(params.dims)
        if dim.data.dilation > 1
        and dim.weights.length(dim.kernel) == 1
        and not (any(dim.data.pad) or any(dim.result.trunc))
        and dim.result.stride == 1
    )
    dims = list(params.dims)
    for index in chosen:
        dim = dims[index]
        data = dataclasses.replace(dim.data, dilation=1)
        dims[index] = dataclasses.replace(dim, data=data, result=Yield())
    return dataclasses.replace(params, dims=tuple(dims)), chosen


def swapped(params: ConvParams) -> ConvParams:
    """Exchange data and weights; the batch becomes the output channels, and back."""
    dims = []
    for dim in params.dims:
        # Enough zeros that the field slides over the kernel and not the kernel over the field.
        extra = dim.data.length(dim.size) - dim.weights.length(dim.kernel)
        pad = (dim.weights.pad[0] + extra, dim.weights.pad[1] + extra)
        data = dataclasses.replace(dim.weights, pad=pad, flip=not dim.weights.flip)
        weights = dataclasses.replace(dim.data, flip=not dim.data.flip)
        dims.append(Dim(dim.kernel, dim.size, data, weights, dim.result))
    made = dataclasses.replace(
        params, dims=tuple(dims), batch=params.out_channels, out_channels=params.batch
    )
    return canonical(made)


def expanded(params: ConvParams, dims: tuple[int, ...]) -> ConvParams:
    """Make input channels of the kernel's elements along some dimensions (im2col)."""
    new, channels = list(params.dims), params.in_channels
    for index in dims:
        dim = params.dims[index]
        channels *= dim.weights.kept(dim.kernel)
        new[index] = Dim(dim.computed, 1, result=Yield(pad=dim.result.pad))
    return dataclasses.replace(params, dims=tuple(new), in_channels=channels)


def flattened_out(params: ConvParams, dims: tuple[int, ...]) -> ConvParams:
    """Make output channels of the outputs along some dimensions; data become input channels."""
    if not dims:
        return params
    return swapped(merged_in_batch(expanded(swapped(params), dims), dims))


def merged_in_batch(params: ConvParams, dims: tuple[int, ...]) -> ConvParams:
    """Make images of the outputs along dimensions that have no kernel."""
    new, batch = list(params.dims), params.batch
    for index in dims:
        batch *= new[index].out
        new[index] = Dim(1, 1)
    return dataclasses.replace(params, dims=tuple(new), batch=batch)


def flattened(params: ConvParams) -> ConvParams:
    """Join the batch and every dimension without a kernel into the innermost such dimension."""
    plain = [index for index, dim in enumerate(params.dims) if dim.is_plain]
    if not plain:
        return params
    *others, inner = plain
    size, dims = params.batch * params.dims[inner].size, list(params.dims)
    for index in others:
        size *= dims[index].size
        dims[index] = Dim(1, 1)
    dims[inner] = Dim(size, 1)
    return dataclasses.replace(params, dims=tuple(dims), batch=1)


def transformed(params: ConvParams, choice: Transforms) -> ConvParams:
    """Apply a candidate's choices to canonical parameters, in poplin's order."""
    made, _ = dilate_after(params) if choice.dilate_after else (params, ())
    if choice.swap:
        made = swapped(made)
    made = flattened_out(canonical(expanded(made, choice.expand)), choice.flatten_out)
    return flattened(canonical(made))


def choices(params: ConvParams, swaps: tuple[bool, ...]) -> Iterator[Transforms]:
    """Every candidate for canonical parameters.

    Args:
        params: canonical parameters.
        swaps: which orders of the operands to offer.
    """
    plain, dilated = dilate_after(params)
    for swap in swaps:
        start = swapped(plain) if swap else plain
        for expand in subsets(expandable(start)):
            middle = canonical(expanded(start, expand))
            for flatten_out in subsets(_out_flattenable(middle)):
                yield Transforms(swap, expand, flatten_out, dilated)


def subsets(dims: list[int]) -> Iterator[tuple[int, ...]]:
    """Every subset, the empty one first."""
    return itertools.chain.from_iterable(
        itertools.combinations(dims, count) for count in range(len(dims) + 1)
    )


def expandable(params: ConvParams) -> list[int]:
    """Dimensions that expansion changes, and whose kernel is not the larger operand."""
    return [
        index
        for index, dim in enumerate(params.dims)
        if dim.data.kept(dim.size) >= dim.weights.kept(dim.kernel)
        and dataclasses.replace(dim, result=dataclasses.replace(dim.result, pad=(0, 0)))
        != Dim(dim.size, 1)
    ]


def _out_flattenable(params: ConvParams) -> list[int]:
    """Dimensions with several outputs whose field is not the larger operand."""
    return [
        index
        for index, dim in enumerate(params.dims)
        if dim.out > 1 and dim.data.kept(dim.size) <= dim.weights.kept(dim.kernel)
    ]
