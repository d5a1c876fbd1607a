"""The loss as of 2017: one vertex on the first tile, which sees all scores.

Source: rules read in the public history of Graphcore's PopLibs, winter 2016/17.
"""

from __future__ import annotations

import numpy as np

from ipuc.codelets.calc_loss import CalcLoss
from ipuc.planner.context import Context
from ipuc.planner.worker.dense import strides
from ipuc.program.family import separable
from ipuc.program.tensor import Tensor


def cross_entropy(
    ctx: Context, scores: Tensor, labels: Tensor, factor: float, names: tuple[str, str], dtype: str
) -> tuple[Tensor, Tensor]:
    """Add the vertex of a softmax cross-entropy, whose mean over the batch it takes itself.

    Args:
        ctx: the lowering.
        scores: [batch, classes].
        labels: [batch], class numbers.
        factor: by which the gradient of each row is multiplied.
        names: of the loss and of its gradient.
        dtype: element type of the gradient.

    Returns:
        The loss, a scalar of float32, and its gradient: [batch, classes].
    """
    builder, (batch, classes) = ctx.builder, scores.shape
    loss = builder.variable(names[0], "float32", ())
    deltas = builder.variable(names[1], dtype, scores.shape)
    correct = builder.variable(f"{names[0]} correct", "int32", ())
    scores, labels = builder.solid(scores, "scores"), builder.solid(labels, "labels")
    first = [np.zeros(1, np.int64)]
    with builder.compute_set(names[0]) as compute_set:
        compute_set.workers = "one"
        compute_set.add(
            CalcLoss(factor),
            separable(0, *first),
            activations=builder.field(scores, first, (batch, classes), strides(scores)),
            labels=builder.field(labels, first, (batch,), strides(labels)),
            deltas=builder.field(deltas, first, (batch, classes)),
            loss=builder.field(loss, first, ()),
            correct=builder.field(correct, first, ()),
        )
    return loss, deltas
