"""Fully connected layers by the rules of 2017: a vertex for each row of weights on each tile.

A layer of R outputs and C inputs is spread over T tiles along a row of its weights and K along a
column. The weights are one variable: all three passes find their part of it on their own tile. Its
columns lie in the order of the layer's input, so that groups of channels stay in one piece.

Source: rules read in the public history of Graphcore's PopLibs, winter 2016/17.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ipuc.codelets.define import Codelet
from ipuc.codelets.fully_connected_bias_update import FullyConnectedBiasUpdate
from ipuc.codelets.fully_connected_bwd import FullyConnectedBwd
from ipuc.codelets.fully_connected_bwd_reduce import FullyConnectedBwdReduce
from ipuc.codelets.fully_connected_partial import FullyConnectedPartial
from ipuc.codelets.fully_connected_reduce import FullyConnectedReduce
from ipuc.codelets.fully_connected_weight_gradient import FullyConnectedWeightGradient
from ipuc.codelets.fully_connected_weight_update import FullyConnectedWeightUpdate
from ipuc.planner.context import Context
from ipuc.planner.worker.columns import Columns, laid_out
from ipuc.planner.worker.shares import shares, tile_of
from ipuc.program.family import IndexMap, separable
from ipuc.program.split import Parts, bounds, split_axis
from ipuc.program.tensor import Tensor, coalesce
from ipuc.target import Target
from ipuc.types import Ints


def plan(
    target: Target, outs: int, ins: int, itemsize: int = 2, *, training: bool
) -> tuple[int, int]:
    """How a layer is spread: (tiles along a row T, tiles along a column K).

    Args:
        target: the machine.
        outs: rows of the weights R.
        ins: columns of the weights C.
        itemsize: bytes of a weight; the rules were made for halves.
        training: the backward pass counts as well.

    Source: the fully connected planner of PopLibs, winter 2016/17.
    """
    workers, word = target.worker_contexts, target.vector_width(itemsize)
    rate = target.exchange_bytes_per_cycle
    t = np.arange(1, max(1, min(target.tiles, ins)) + 1)
    k = target.tiles // t
    columns, rows = -(-ins // t), -(-outs // k)
    words = -(-columns // word)
    cost = workers * -(-outs * t // (workers * t * k)) * (7 + words)
    cost = cost + -(-itemsize * columns // rate) + rows
    if training:
        cost = cost + workers * -(-words // workers) * (5 + 3 * rows)
        cost = cost + -(-itemsize * rows // rate) + columns
    best = int(np.argmin(cost))
    return int(t[best]), int(k[best])


def forward(
    ctx: Context,
    x: Tensor,
    weights: Tensor,
    bias: Tensor | None,
    name: str,
    *,
    training: bool,
) -> Tensor:
    """Multiply x by the weights, and add the bias: partial products on all tiles, then sums.

    Args:
        ctx: the lowering.
        x: [batch, ins].
        weights: [outs, ins]; a constant or state that nothing uses yet is laid out as x lies.
        bias: broadcasts to [batch, outs]; None if there is none.
        name: of the result.
        training: the layer's backward pass uses the weights too.

    Returns:
        [batch, outs], element type of `x`: a new variable.
    """
    builder, batch = ctx.builder, x.shape[0]
    layer = _Layer.of(ctx, laid_out(ctx, x, weights), f"{name} weights", training=training)
    data = layer.columns.laid(ctx, x, f"{name} input")
    (image, along), (down, across) = strides(data), strides(layer.matrix)
    row = np.arange(layer.outs, dtype=np.int64)
    partials = builder.variable(
        f"{name} partials", ctx.partials(x.itemsize), (layer.along_row, layer.outs, batch)
    )
    made = builder.variable(name, x.dtype, (batch, layer.outs))
    with builder.compute_set(f"{name} partials") as compute_set:
        compute_set.workers = "one"
        for part, tile in layer.slices():
            compute_set.add(
                FullyConnectedPartial(),
                tile,
                x=builder.field(
                    data, [part.begin * along, 0 * row], (batch, part.size), (image, along)
                ),
                weights=builder.field(
                    layer.matrix, [part.begin * across, row * down], (part.size,), (across,)
                ),
                out=builder.field(
                    partials, [part.index * layer.outs * batch, row * batch], (batch,)
                ),
            )
    _sum(ctx, partials, made, name, bias)
    return made


def data_gradient(
    ctx: Context, dy: Tensor, weights: Tensor, name: str, *, training: bool = True
) -> Tensor:
    """Multiply deltas by the weights: a vertex for each word of columns on a tile, then sums.

    Args:
        ctx: the lowering.
        dy: [batch, outs].
        weights: [outs, ins], as the forward pass has left them.
        name: of the result.
        training: as the forward pass has it.

    Returns:
        [batch, ins], element type of `dy`: a new variable, in the order of the layer's input.
    """
    builder, batch = ctx.builder, dy.shape[0]
    layer = _Layer.of(ctx, weights, f"{name} weights", training=training)
    deltas = builder.solid(dy, f"{name} deltas")
    (image, along), (down, across) = strides(deltas), strides(layer.matrix)
    parts = layer.along_column
    partials = builder.variable(
        f"{name} partials", ctx.partials(dy.itemsize), (parts, layer.ins, batch)
    )
    made = builder.variable(name, dy.dtype, (batch, layer.ins))
    with builder.compute_set(f"{name} partials") as compute_set:
        compute_set.workers = "one"
        for begin, slices, size in layer.words(ctx.target.vector_width(weights.itemsize)):
            for part in split_axis(layer.outs, parts):
                compute_set.add(
                    FullyConnectedBwd(),
                    separable(0, part.index, slices * parts),
                    deltas=builder.field(
                        deltas, [part.begin * along, 0 * begin], (batch, part.size), (image, along)
                    ),
                    weights=builder.field(
                        layer.matrix,
                        [part.begin * down, begin * across],
                        (part.size, size),
                        (down, across),
                    ),
                    out=builder.field(
                        partials, [part.index * layer.ins * batch, begin * batch], (size, batch)
                    ),
                )
    _sum(ctx, partials, made, name)
    return layer.columns.numbered(made)


def weight_update(
    ctx: Context,
    x: Tensor,
    dy: Tensor,
    weights: Tensor,
    rate: float,
    name: str,
    *,
    keep: float = 1.0,
) -> None:
    """A step of gradient descent, in place: weights = keep * weights - rate * dy^T x.

    Args:
        ctx: the lowering.
        x: [batch, ins], the layer's input.
        dy: [batch, outs].
        weights: [outs, ins], one strided view of a variable.
        rate: learning rate, by the loss scale.
        name: of the compute set.
        keep: what remains of a weight under weight decay.
    """
    layer = _Layer.of(ctx, weights, f"{name} weights", training=True)
    _outer(ctx, layer, (x, dy), FullyConnectedWeightUpdate(rate, keep), layer.matrix, name)
    if ctx.builder.one_view(layer.matrix).variable != ctx.builder.one_view(weights).variable:
        ctx.builder.copy_into(weights, layer.columns.numbered(layer.matrix), name)


def weight_gradient(
    ctx: Context, x: Tensor, dy: Tensor, weights: Tensor, name: str, dtype: str = ""
) -> Tensor:
    """The gradient of the weights, dy^T x, made tile for tile where they lie.

    Args:
        ctx: the lowering.
        x: [batch, ins], the layer's input.
        dy: [batch, outs].
        weights: [outs, ins]; tells how the layer is spread, and is not read.
        name: of the result.
        dtype: element type of the result, if not that of `x`.

    Returns:
        [outs, ins]: a new variable that lies as the weights do.
    """
    layer = _Layer.of(ctx, weights, "", training=True)
    made = ctx.builder.variable(name, dtype or x.dtype, (layer.outs, layer.ins))
    _outer(ctx, layer, (x, dy), FullyConnectedWeightGradient(), made, name)
    return layer.columns.numbered(made)


def bias_update(
    ctx: Context, dy: Tensor, bias: Tensor, rate: float, name: str, *, keep: float = 1.0
) -> None:
    """A step of gradient descent on a bias, in place, split over the workers of its tiles.

    Args:
        ctx: the lowering.
        dy: [batch, outs].
        bias: [outs], one strided view of a variable.
        rate: learning rate, by the loss scale.
        name: of the compute set.
        keep: what remains of a bias under weight decay.
    """
    builder, (batch, outs) = ctx.builder, dy.shape
    deltas = builder.solid(dy, f"{name} deltas")
    (image, along), (step,) = strides(deltas), strides(bias)
    with builder.compute_set(name) as compute_set:
        compute_set.workers = "one"
        for share in shares(ctx.target, outs, 1):
            begins = share.begins()
            compute_set.add(
                FullyConnectedBiasUpdate(rate, keep),
                share.tiles(),
                deltas=builder.field(
                    deltas, [b * along for b in begins], (batch, share.size), (image, along)
                ),
                bias=builder.field(bias, [b * step for b in begins], (share.size,), (step,)),
            )


@dataclass(frozen=True, slots=True)
class _Layer:
    """Where the parts of a layer's weights lie: part (t, k) on tile t * K + k.

    Neighbours share a slice of the input, and so an exchange bus brings it to both.

    Attributes:
        outs: rows of the weights.
        ins: columns.
        columns: order in which columns lie.
        matrix: the weights in that order, [outs, ins].
        along_row: tiles along a row T.
        along_column: tiles along a column K.
    """

    outs: int
    ins: int
    columns: Columns
    matrix: Tensor
    along_row: int
    along_column: int

    @classmethod
    def of(cls, ctx: Context, weights: Tensor, name: str, *, training: bool) -> _Layer:
        """Plan a layer, and write the record of its plan.

        Args:
            ctx: the lowering.
            weights: [outs, ins].
            name: of a copy, which is made of weights that lie in pieces; "" if nobody reads them.
            training: see `plan`.
        """
        outs, ins = weights.shape
        along_row, most = plan(ctx.target, outs, ins, weights.itemsize, training=training)
        along_column = min(most, outs)
        chosen = {"tiles per row": along_row, "tiles per column": along_column}
        ctx.plan.update({"rules": "2017", "chosen": chosen})
        columns = Columns.of(weights)
        matrix = columns.laid(ctx, weights, name) if name else weights
        return cls(outs, ins, columns, matrix, along_row, along_column)

    def slices(self) -> Iterator[tuple[Parts, IndexMap]]:
        """Slices of a row by length, and the tile of every slice of every row: [slices, rows]."""
        rows = np.arange(self.outs, dtype=np.int64)
        share = np.searchsorted(bounds(self.outs, self.along_column), rows, side="right") - 1
        for part in split_axis(self.ins, self.along_row):
            yield part, separable(0, part.index * self.along_column, share)

    def words(self, width: int) -> Iterator[tuple[Ints, Ints, int]]:
        """Words of all slices of a row by length: first column and slice of each, columns."""
        edges = bounds(self.ins, self.along_row)
        count = -(-np.diff(edges) // width)
        slices = np.repeat(np.arange(self.along_row, dtype=np.int64), count)
        before = np.cumsum(count) - count
        begin = edges[slices] + (np.arange(len(slices)) - before[slices]) * width
        size = np.minimum(edges[slices + 1] - begin, width)
        for columns in np.unique(size).tolist():
            mine = size == columns
            yield begin[mine], slices[mine], columns


def _outer(
    ctx: Context,
    layer: _Layer,
    operands: tuple[Tensor, Tensor],
    codelet: Codelet,
    into: Tensor,
    name: str,
) -> None:
    """Vertices that multiply each delta by each slice of the input.

    Args:
        ctx: the lowering.
        layer: where the weights lie.
        operands: x [batch, ins] and dy [batch, outs].
        codelet: has the fields `x` and `deltas`, and one more that it writes.
        into: a matrix [outs, ins], columns in the order of the layer's.
        name: of the compute set.
    """
    builder, (x, dy) = ctx.builder, operands
    batch, row = x.shape[0], np.arange(layer.outs, dtype=np.int64)
    data = layer.columns.laid(ctx, x, f"{name} input")
    deltas = builder.solid(dy, f"{name} deltas")
    (image, along), (delta_image, step) = strides(data), strides(deltas)
    down, across = strides(into)
    written = next(spec.name for spec in codelet.fields if spec.writes)
    with builder.compute_set(name) as compute_set:
        compute_set.workers = "one"
        for part, tile in layer.slices():
            fields = {
                "x": builder.field(
                    data, [part.begin * along, 0 * row], (batch, part.size), (image, along)
                ),
                "deltas": builder.field(
                    deltas, [0 * part.begin, row * step], (batch,), (delta_image,)
                ),
                written: builder.field(
                    into, [part.begin * across, row * down], (part.size,), (across,)
                ),
            }
            compute_set.add(codelet, tile, **fields)


def _sum(
    ctx: Context, partials: Tensor, made: Tensor, name: str, bias: Tensor | None = None
) -> None:
    """Add the partial results of every element: a vertex for each, which serves all of the batch.

    Args:
        ctx: the lowering.
        partials: [parts, elements, batch].
        made: [batch, elements].
        name: of the compute set.
        bias: is added too; broadcasts to [batch, elements].
    """
    builder, (parts, count, batch) = ctx.builder, partials.shape
    element = np.arange(count, dtype=np.int64)
    codelet: Codelet = FullyConnectedBwdReduce()
    fields = {
        "partials": builder.field(partials, [element * batch], (parts, batch), (count * batch, 1)),
        "out": builder.field(made, [element], (batch,), (count,)),
    }
    if bias is not None:
        codelet = FullyConnectedReduce()
        added = builder.solid(bias.expand((batch, count)), f"{name} bias")
        image, step = strides(added)
        rows = batch if image else 1
        fields["bias"] = builder.field(added, [element * step], (rows,), (image,))
    with builder.compute_set(name) as compute_set:
        compute_set.workers = "one"
        compute_set.add(codelet, separable(0, tile_of(ctx.target, element, count, 1)), **fields)


def strides(tensor: Tensor) -> tuple[int, ...]:
    """Steps along the axes of a strided view, each of one run."""
    view = tensor.view()
    assert view is not None
    axes = [coalesce(axis) or ((1, 0),) for axis in view.axes]
    assert all(len(axis) == 1 for axis in axes)
    return tuple(axis[0][1] for axis in axes)
