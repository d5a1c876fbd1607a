"""CrossEntropy: loss and its gradient at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from ipuc.codelets.select import Select
from ipuc.errors import ShapeError
from ipuc.graph.ir import Node
from ipuc.ops.binary import binary
from ipuc.ops.define import Example, Function
from ipuc.ops.reducing import wide
from ipuc.ops.softmax import exponentials
from ipuc.ops.unary import unary
from ipuc.ops.updating import scaled
from ipuc.planner.context import Context
from ipuc.planner.elementwise import elementwise
from ipuc.planner.reduction import reduce
from ipuc.planner.worker.loss import cross_entropy
from ipuc.program.tensor import Tensor
from ipuc.types import TensorType


class CrossEntropy(Function):
    """Mean cross-entropy of softmax(scores) and class numbers, and scale times its gradient.

    Scores [N, C, ...], labels int64 [N, ...], scale a scalar; the mean is over all labels. The
    scale keeps small gradients above what a half can hold.
    Source: ONNX SoftmaxCrossEntropyLoss-13; gradient (softmax - one-hot) / labels.
    """

    name: ClassVar[str] = "CrossEntropy"
    body: ClassVar[str] = """
        <domain: "ai.ipuc", opset_import: ["" : 18]>
        CrossEntropy (scores, labels, scale) => (loss, delta) {
            loss, logs = SoftmaxCrossEntropyLoss <reduction = "mean"> (scores, labels)
            likely = Exp (logs)
            depth = Shape <start = 1, end = 2> (scores)
            choice = Constant <value = float[2] {0.0, 1.0}> ()
            values = CastLike (choice, scores)
            wanted = OneHot <axis = 1> (labels, depth, values)
            excess = Sub (likely, wanted)
            size = Size (labels)
            count = CastLike (size, scores)
            factor = CastLike (scale, scores)
            each = Div (factor, count)
            delta = Mul (excess, each)
        }
    """

    def infer(self, node: Node, types: Sequence[TensorType | None]) -> list[TensorType]:
        """A scalar loss, and a gradient like the scores."""
        scores, labels = types[0], types[1]
        assert scores is not None
        assert labels is not None
        if len(scores.shape) < 2 or labels.shape != (scores.shape[0], *scores.shape[2:]):
            raise ShapeError(
                f"labels {labels} do not fit scores {scores}: of scores [N, C, ...] the labels "
                "are [N, ...]",
                where=node.where(),
            )
        kinds = [TensorType(scores.dtype, ()), scores]
        return [kind for kind, name in zip(kinds, node.outputs, strict=False) if name]

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """A batch of classes, and one of class maps."""
        scale = np.asarray(8.0, np.float32)
        return (
            Example((TensorType("float32", (5, 7)), np.asarray([6, 0, 3, 3, 1]), scale)),
            Example((TensorType("float32", (2, 3, 4)), np.arange(8).reshape(2, 4) % 3, scale)),
        )

    def lower(self, ctx: Context, node: Node) -> None:
        """Log-softmax, the wanted classes picked out, sums; in float32 up to the gradient.

        Classes of a batch are one vertex at granularity `worker`, as they were in 2017.
        """
        scores, labels = (ctx.tensor(name) for name in node.inputs[:2])
        if ctx.granularity == "worker" and len(scores.shape) == 2 and scores.size:
            _by_2017(ctx, node, scores, labels)
            return
        loss, delta = node.outputs
        count = labels.size
        shifted, powers, total = exponentials(ctx, scores, [1], loss, keep=True)
        column = ctx.builder.reshape(labels, (labels.shape[0], 1, *labels.shape[1:]))
        classes = np.arange(scores.shape[1], dtype=np.int32)
        classes = classes.reshape(1, -1, *(1 for _ in scores.shape[2:]))
        numbers = ctx.builder.constant(f"{loss} classes", classes)
        wanted = binary(ctx, "eq", column, numbers, f"{loss} wanted", "bool")
        logs = binary(ctx, "sub", shifted, unary(ctx, "log", total, f"{loss} log"), f"{loss} logs")
        picked = _pick(ctx, wanted, logs, f"{loss} picked")
        summed = reduce(ctx, "sum", picked, list(range(len(scores.shape))), f"{loss} summed")
        mean = unary(ctx, "scale", summed, loss, -1.0 / count)
        ctx.define(loss, ctx.builder.reshape(mean, ()), wide=True)
        likely = binary(ctx, "div", powers, total, f"{delta} likely")
        ones = ctx.scalar(1.0, likely.dtype, likely.shape)
        target = _pick(ctx, wanted, ones, f"{delta} target")
        excess = binary(ctx, "sub", likely, target, f"{delta} excess", over=("a",))
        ctx.define(delta, scaled(ctx, excess, 1.0 / count, node.inputs[2], delta, scores.dtype))


def _by_2017(ctx: Context, node: Node, scores: Tensor, labels: Tensor) -> None:
    """One vertex; a loss scale that changes from step to step is multiplied in after it."""
    (loss, delta), scale = node.outputs, ctx.constant(node.inputs[2])
    factor = 1.0 / scores.shape[0]
    dtype, names = scores.dtype, (loss, delta)
    if scale is None:
        dtype, names = wide(dtype), (loss, f"{delta} mean")
    else:
        factor *= float(scale.item())
    value, gradient = cross_entropy(ctx, scores, labels, factor, names, dtype)
    if scale is None:
        by = ctx.builder.reshape(ctx.wide(node.inputs[2]), (1, 1))
        gradient = binary(ctx, "mul", gradient, by, delta, scores.dtype, over=("a",))
    ctx.define(loss, value, wide=True)
    ctx.define(delta, gradient)


def _pick(ctx: Context, flags: Tensor, values: Tensor, name: str) -> Tensor:
    """The values where the flag is set, else 0."""
    nothing = ctx.scalar(0.0, values.dtype, values.shape)
    operands = {"flag": flags, "a": values, "b": nothing}
    return elementwise(ctx, Select(), operands, wide(values.dtype), name)
