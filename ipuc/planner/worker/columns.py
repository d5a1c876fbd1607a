"""The order in which a fully connected layer's inputs lie, and its weights with them.

What comes from a convolution lies in groups of channels; seen as a row, in ONNX's order, its
elements jump about. Weights whose columns lie in the same order as the input meet it in whole
groups.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from ipuc.planner.context import Context
from ipuc.program.tensor import Tensor, coalesce


@dataclass(frozen=True, slots=True)
class Columns:
    """An order of columns: numbers of several digits, and which digit is the slowest in memory.

    Attributes:
        extents: values of each digit, the slowest first as columns are numbered.
        order: digits, the slowest first as columns lie.
    """

    extents: tuple[int, ...]
    order: tuple[int, ...]

    @classmethod
    def of(cls, tensor: Tensor) -> Self:
        """The order of a matrix [rows, columns]; that of the numbers where it is in pieces."""
        view, count = tensor.view(), tensor.shape[-1]
        axis = () if view is None else coalesce(view.axes[-1])
        if len(axis) < 2 or any(stride <= 0 for _, stride in axis):
            return cls((count,), (0,))
        strides = np.array([stride for _, stride in axis])
        order = np.argsort(-strides, kind="stable")
        return cls(tuple(extent for extent, _ in axis), tuple(int(at) for at in order))

    def laid(self, ctx: Context, tensor: Tensor, name: str) -> Tensor:
        """A matrix of numbered columns with its columns as they lie: a view if it lies so.

        Args:
            ctx: the lowering.
            tensor: [rows, columns].
            name: of a copy, which is made if it lies otherwise.
        """
        rows, count = tensor.shape
        if len(self.order) > 1:
            split = ctx.builder.reshape(tensor, (rows, *self.extents), name)
            turned = split.transpose((0, *(1 + at for at in self.order)))
            tensor = ctx.builder.reshape(turned, (rows, count), name)
        return ctx.builder.solid(tensor, name)

    def numbered(self, tensor: Tensor) -> Tensor:
        """See a row-major matrix, whose columns lie in this order, by the numbers of columns."""
        rows, count = tensor.shape
        split = tensor.reshape((rows, *(self.extents[at] for at in self.order)))
        assert split is not None  # splitting a row-major axis is a view
        turned = split.transpose((0, *(1 + int(at) for at in np.argsort(self.order))))
        made = turned.reshape((rows, count))
        assert made is not None  # merging axes is a view
        return made


def laid_out(ctx: Context, x: Tensor, weights: Tensor) -> Tensor:
    """Lay weights out row by row, the columns of a row in the order of the layer's input.

    Args:
        ctx: the lowering.
        x: [batch, ins].
        weights: [outs, ins]. What is no constant, state or argument, or is used by now, stays as
            it lies.

    Returns:
        The same elements under the same shape.
    """
    columns = Columns.of(x)
    split = weights.reshape((weights.shape[0], *columns.extents))
    view = None if split is None else split.view()
    if split is None or view is None:
        return weights
    axes = [coalesce(axis) or ((1, 0),) for axis in view.axes]
    if any(len(axis) > 1 for axis in axes):
        return weights
    strides = np.array([axis[0][1] for axis in axes])
    lies = np.argsort(-strides, kind="stable")
    wanted = np.array([0, *(1 + at for at in columns.order)])
    whole = split.transpose([int(at) for at in lies])
    place = np.argsort(lies)  # of each axis of the matrix in the whole
    laid = ctx.relaid(whole, [int(place[at]) for at in wanted])
    made = laid.transpose([int(at) for at in place]).reshape(weights.shape)
    assert made is not None  # merging axes is a view
    return made
