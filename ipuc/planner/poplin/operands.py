"""The transforms of a plan, done to operands: views where a view can say it, copies elsewhere."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass

from ipuc.planner.poplin import transforms
from ipuc.planner.poplin.params import ConvParams, Dim, Reach, canonical
from ipuc.planner.poplin.transforms import Transforms
from ipuc.program.builder import Builder
from ipuc.program.tensor import Tensor, concat, fill

#: Turns the result of a transformed convolution into that of the one before.
Undo = Callable[[Tensor], Tensor]
#: Axes before the field of data [groups, batch, ins, ...] and weights [groups, outs, ins, ...].
LEAD = 3


@dataclass(frozen=True, slots=True)
class Operands:
    """A convolution with its operands, and the way back from its result.

    Attributes:
        params: what is convolved.
        data: [groups, batch, ins, *field].
        weights: [groups, outs, ins, *kernel].
        undo: what to do to a result [groups, batch, outs, *out], the last first.
        copied: whether the data, and whether the weights, are copies already.
    """

    params: ConvParams
    data: Tensor
    weights: Tensor
    undo: tuple[Undo, ...] = ()
    copied: tuple[bool, bool] = (False, False)

    def result(self, made: Tensor) -> Tensor:
        """The untransformed convolution's result."""
        for step in reversed(self.undo):
            made = step(made)
        return made


def transform(builder: Builder, start: Operands, how: Transforms, name: str) -> Operands:
    """Apply the choices of a plan, in the order of `transforms.transformed`.

    Args:
        builder: where copies go.
        start: canonical parameters and operands.
        how: the choices.
        name: of the copies.
    """
    made = start
    if how.dilate_after:
        made = _dilated_after(builder, made, f"{name} dilate")
    if how.swap:
        made = _swapped(made)
    if how.expand:
        made = _expanded(builder, made, how.expand, name)
    if how.flatten_out:
        made = _flattened_out(builder, made, how.flatten_out, name)
    return _flattened(builder, dataclasses.replace(made, params=canonical(made.params)), name)


def seen(operands: Operands) -> tuple[Tensor, Tensor]:
    """Data and weights as vertices see them: truncated and flipped elements are viewed away."""
    data, weights = operands.data, operands.weights
    for index, dim in enumerate(operands.params.dims):
        axis = LEAD + index
        data = _kept(data, axis, dim.data)
        weights = _kept(weights, axis, dim.weights)
    return data, weights


def _kept(tensor: Tensor, axis: int, reach: Reach) -> Tensor:
    """What truncation leaves, in the order of its places."""
    begin, end = reach.trunc[0], tensor.shape[axis] - reach.trunc[1]
    if reach.flip:
        return tensor.slice(axis, end - 1, begin - 1, -1)
    return tensor.slice(axis, begin, end)


def _swapped(given: Operands) -> Operands:
    def undo(made: Tensor) -> Tensor:
        return made.transpose((0, 2, 1, *range(LEAD, len(made.shape))))

    return Operands(
        transforms.swapped(given.params),
        given.weights,
        given.data,
        (*given.undo, undo),
        given.copied[::-1],
    )


def _dilated_after(builder: Builder, given: Operands, name: str) -> Operands:
    params, chosen = transforms.dilate_after(given.params)
    old = given.params.dims

    def undo(made: Tensor) -> Tensor:
        for index in chosen:
            axis, dim = LEAD + index, old[index]
            made = _spread(builder, made, axis, dim.data.dilation, name)
            made = _padded(made, axis, dim.result.pad)
        return made

    return dataclasses.replace(given, params=params, undo=(*given.undo, undo))


def _spread(builder: Builder, tensor: Tensor, axis: int, step: int, name: str) -> Tensor:
    """Put zeros between the elements of an axis; a copy."""
    count, shape = tensor.shape[axis], tensor.shape
    wide = _split(tensor, (*shape[: axis + 1], 1, *shape[axis + 1 :]))
    zeros = fill(0.0, (*shape[: axis + 1], step - 1, *shape[axis + 1 :]), tensor.dtype)
    both = builder.copy(concat([wide, zeros], axis + 1), name)
    joined = _split(both, (*shape[:axis], count * step, *shape[axis + 1 :]))
    return joined.slice(axis, 0, (count - 1) * step + 1)


def _padded(tensor: Tensor, axis: int, pad: tuple[int, int]) -> Tensor:
    """Put zeros before and after the elements of an axis; no copy."""
    shape = tensor.shape
    ends = [fill(0.0, (*shape[:axis], n, *shape[axis + 1 :]), tensor.dtype) for n in pad]
    parts = [ends[0], tensor, ends[1]]
    return concat([part for part in parts if part.shape[axis]], axis)


def _expanded(builder: Builder, given: Operands, dims: tuple[int, ...], name: str) -> Operands:
    """Make input channels [ins, *kernel elements] of the kernel along some dimensions."""
    data, weights, params = given.data, given.weights, given.params
    for done, index in enumerate(dims):
        dim, axis = params.dims[index], LEAD + done + index
        data = _columns(builder, data, axis, LEAD + done, dim, f"{name} dilate")
        weights = _kept(weights, LEAD + index, dim.weights)
    rank = len(params.dims)
    count, made = len(dims), transforms.expanded(params, dims)
    # Images lie beside the dimensions that have no kernel now, as flattening wants them.
    rest = [d for d in range(rank) if d not in dims]
    field = LEAD + count
    order = (0, *range(2, field), *(field + d for d in rest), 1, *(field + d for d in dims))
    wide = builder.copy(data.transpose(order), f"{name} columns")
    wide = _split(wide, (wide.shape[0], made.in_channels, *wide.shape[2 + count :]))
    place = {d: 2 + i for i, d in enumerate(rest)}
    place |= {d: LEAD + len(rest) + i for i, d in enumerate(dims)}
    data = wide.transpose((0, 2 + len(rest), 1, *(place[d] for d in range(rank))))
    turned = weights.transpose((0, 1, 2, *(LEAD + d for d in dims), *(LEAD + d for d in rest)))
    kernel = tuple(1 if d in dims else weights.shape[LEAD + d] for d in range(rank))
    weights = builder.reshape(
        turned, (*weights.shape[:2], made.in_channels, *kernel), f"{name} weights"
    )
    return Operands(canonical(made), data, weights, given.undo, (True, given.copied[1]))


def _columns(
    builder: Builder, data: Tensor, axis: int, channel: int, dim: Dim, name: str
) -> Tensor:
    """Insert an axis at `channel` for the kernel elements; `axis` then runs over outputs."""
    reach, kept = dim.data, dim.weights.kept(dim.kernel)
    seen = data.slice(axis, reach.trunc[0], data.shape[axis] - reach.trunc[1])
    if reach.dilation > 1:
        seen = _spread(builder, seen, axis, reach.dilation, name)
    seen = _padded(seen, axis, reach.pad)
    if reach.flip:
        seen = seen.slice(axis, seen.shape[axis] - 1, -1, -1)
    least = dim.weights.pad[1 if dim.weights.flip else 0] + dim.result.trunc[0]
    stride, dilation, count = dim.result.stride, dim.weights.dilation, dim.computed
    rank = len(data.shape)
    # One piece for each kernel element, or for each output, whichever are fewer.
    columns = []
    if kept <= count:
        for element in range(kept):
            begin = least + element * dilation
            taken = seen.slice(axis, begin, begin + (count - 1) * stride + 1, stride)
            columns.append(_split(taken, (*taken.shape[:channel], 1, *taken.shape[channel:])))
        return concat(columns, channel)
    rest = [a for a in range(rank) if a != axis]
    order = (*rest[:channel], axis, *rest[channel:])
    for out in range(count):
        begin = least + out * stride
        taken = seen.slice(axis, begin, begin + (kept - 1) * dilation + 1, dilation)
        taken = taken.transpose(order)
        columns.append(_split(taken, (*taken.shape[: axis + 1], 1, *taken.shape[axis + 1 :])))
    return concat(columns, axis + 1)


def _flattened_out(builder: Builder, given: Operands, dims: tuple[int, ...], name: str) -> Operands:
    """Make output channels of the outputs along some dimensions."""
    turned = _expanded(builder, _swapped(given), dims, name)
    params = turned.params
    out = params.out_field
    rank, rest = len(out), [d for d in range(len(out)) if d not in dims]
    merged = transforms.merged_in_batch(params, dims)
    order = (0, 1, *(LEAD + d for d in dims), 2, *(LEAD + d for d in rest))
    data = turned.data
    for d in dims:  # outputs that are known to be zero become images of zeros
        data = _padded(data, LEAD + d, params.dims[d].result.pad)
    data = data.transpose(order)
    field = tuple(1 if d in dims else turned.data.shape[LEAD + d] for d in range(rank))
    data = builder.reshape(
        data, (data.shape[0], merged.batch, params.in_channels, *field), f"{name} columns"
    )

    def undo(made: Tensor) -> Tensor:
        groups, _, outs = made.shape[:LEAD]
        wide = _split(
            made,
            (groups, params.batch, *(out[d] for d in dims), outs, *(out[d] for d in rest)),
        )
        place = {d: 2 + i for i, d in enumerate(dims)}
        place |= {d: LEAD + len(dims) + i for i, d in enumerate(rest)}
        return wide.transpose((0, 1, 2 + len(dims), *(place[d] for d in range(rank))))

    return _swapped(
        Operands(merged, data, turned.weights, (*turned.undo, undo), (True, turned.copied[1]))
    )


def _flattened(builder: Builder, given: Operands, name: str) -> Operands:
    """Join the batch and every dimension without a kernel into the innermost such dimension."""
    params, data = given.params, given.data
    made = transforms.flattened(params)
    plain = [d for d, dim in enumerate(params.dims) if dim.is_plain]
    if made == params or not plain:
        return given
    rank = len(params.dims)
    rest = [d for d in range(rank) if d not in plain]
    turned = data.transpose((0, 2, *(LEAD + d for d in rest), 1, *(LEAD + d for d in plain)))
    size = math.prod((params.batch, *(data.shape[LEAD + d] for d in plain)))
    middle = tuple(data.shape[LEAD + d] for d in rest)
    row = builder.reshape(turned, (*turned.shape[:2], *middle, size), f"{name} row")
    inner = plain[-1]
    # The long row stands last; the dimensions without one have extent 1.
    place = {d: 2 + i for i, d in enumerate(rest)} | {inner: 2 + len(rest)}
    kept = [d for d in range(rank) if d in place]
    row = row.transpose((0, 1, *(place[d] for d in kept)))
    shape = tuple(made.dims[d].size for d in range(rank))
    row = _split(row, (row.shape[0], 1, row.shape[1], *shape))
    images, fields = params.batch, params.out_field

    def undo(result: Tensor) -> Tensor:
        groups, _, outs = result.shape[:LEAD]
        out = result.shape[LEAD:]
        narrow = _split(result, (groups, outs, *(out[d] for d in kept)))
        turned = narrow.transpose((0, 1, *(2 + kept.index(d) for d in rest), 2 + kept.index(inner)))
        wide = _split(
            turned,
            (groups, outs, *(out[d] for d in rest), images, *(fields[d] for d in plain)),
        )
        at = {d: 2 + i for i, d in enumerate(rest)}
        at |= {d: 3 + len(rest) + i for i, d in enumerate(plain)}
        return wide.transpose((0, 2 + len(rest), 1, *(at[d] for d in range(rank))))

    return dataclasses.replace(given, params=made, data=row, undo=(*given.undo, undo))


def _split(tensor: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Reshape where it is known that a view can."""
    made = tensor.reshape(shape)
    assert made is not None
    return made
