"""The loss: where the gradients begin."""

from __future__ import annotations

from ipuc.errors import OptionError, ShapeError, nearest
from ipuc.graph.ir import Graph, Node
from ipuc.ops.writer import GraphWriter
from ipuc.training.options import LOSSES, Training
from ipuc.training.scaling import begin_scale
from ipuc.types import TensorType

#: Names that a training graph adds to those of the model.
LOSS, LABELS = "loss", "labels"
_SOFTMAX = ("Softmax", "LogSoftmax")


def add_loss(write: GraphWriter, training: Training) -> tuple[dict[str, str], str]:
    """Write the loss of the model's first output, and its gradient.

    The graph gets an input "labels", unless the loss is one of its outputs, and its only output
    is then "loss".

    Returns:
        The value to differentiate, with the gradient that arrives there; and the loss scale.

    Raises:
        OptionError: no such loss, or a name that the graph needs is taken.
        ShapeError: the output is not what the loss takes.
    """
    graph = write.graph
    write.layer, write.layer_pass = "", "loss"
    added = {LOSS, LABELS} if training.loss in LOSSES else {LOSS} - {training.loss}
    for name in sorted(added & graph.types.keys()):
        own = name == LOSS and LOSS in graph.outputs
        raise OptionError(
            f'the model has a value called "{name}" already, which training needs',
            where="--train",
            fix="use --loss loss, if that is what it is" if own else "rename it in the model",
        )
    scale = begin_scale(write, training.loss_scale)
    if training.loss not in LOSSES:
        return _own_loss(write, training, scale), scale
    if training.loss == "mse":
        output = graph.outputs[0]
        kind = labels = graph.types[output]
        where = f'output "{output}"'
        op = "MeanSquaredError"
    else:
        output, where = _scores(graph)
        kind = graph.types[output]
        if len(kind.shape) < 2 or not kind.is_float:
            raise ShapeError(
                f"cross-entropy takes scores [batch, classes, ...], this is {kind}",
                where=where,
                fix="use --loss mse, or give the model an output of scores",
            )
        if kind.shape[1] < 2:
            raise ShapeError(
                f"cross-entropy chooses between classes along axis 1, and {kind} has "
                f"{kind.shape[1]}",
                where=where,
                fix="use --loss mse, or a loss of the model's own (--loss OUTPUT)",
            )
        labels = TensorType("int64", (kind.shape[0], *kind.shape[2:]))
        op = "CrossEntropy"
    if not kind.is_float:
        raise ShapeError(
            f"a loss of {kind} has no gradient",
            where=where,
            fix="train a model whose first output is floating point",
        )
    graph.inputs.append(LABELS)
    graph.types[LABELS] = labels
    made = write.ops(op, output, LABELS, scale, names=[LOSS, f"grad/{output}"], domain="ai.ipuc")
    graph.outputs[:] = [LOSS]
    return {output: made[1]}, scale


def _scores(graph: Graph) -> tuple[str, str]:
    """The value whose softmax is taken: the input of a Softmax that ends the graph.

    Raises:
        ShapeError: that Softmax is over another axis than cross-entropy's classes.
    """
    output = graph.outputs[0]
    producer = graph.producer(output)
    if producer is not None and over_classes(producer, graph):
        return producer.inputs[0], producer.where()
    if producer is not None and not producer.domain and producer.op in _SOFTMAX:
        raise ShapeError(
            f"it is not along axis 1 of {graph.types[output]}, where cross-entropy has classes",
            where=producer.where(),
            fix="transpose the output, so that it is [batch, classes, ...]; or use --loss mse",
        )
    return output, f'output "{output}"'


def over_classes(node: Node, graph: Graph) -> bool:
    """Whether a node is a Softmax (or its logarithm) along axis 1."""
    if node.domain or node.op not in _SOFTMAX:
        return False
    rank = len(graph.types[node.inputs[0]].shape)
    axis = int(node.attributes.get("axis", 1 if node.opset < 13 else -1))
    # Before operator set 13 all axes from this one on were normalised together.
    return axis % rank == 1 and (rank == 2 or node.opset >= 13)


def _own_loss(write: GraphWriter, training: Training, scale: str) -> dict[str, str]:
    """Take an output of the model as the loss."""
    graph, name = write.graph, training.loss
    if name not in graph.outputs:
        raise OptionError(
            f'no loss is called "{name}"',
            where="--loss",
            fix=f"{nearest(name, (*LOSSES, *graph.outputs))} (cross-entropy, mse, or an output of "
            "the model that is the loss itself)",
        )
    kind = graph.types[name]
    if kind.size != 1 or not kind.is_float:
        raise ShapeError(
            f"a loss is one floating point number, this output is {kind}",
            where=f'output "{name}"',
            fix="name an output that is a scalar, or use --loss cross-entropy or mse",
        )
    gradient = write.reshaped(scale, kind.shape)
    if graph.types[gradient].dtype != kind.dtype:
        gradient = write.op("CastLike", gradient, name)
    if name != LOSS:
        write.op("Identity", write.reshaped(name, ()), name=LOSS)
    graph.outputs[:] = [LOSS]
    return {name: gradient}
