"""Another batch for a model whose file fixes it at 1, in its reshapes too."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from ipuc.importer.read import ModelSource


def reopen_reshapes(source: ModelSource, inputs: Collection[str], batch: int) -> None:
    """Let reshapes to [1, ...] give [batch, ...], where what they reshape comes from an input.

    Exporters write the batch of their example into the shape: `x.view(1, -1)` of a file made for
    one sample would put the samples of a larger batch into one row.

    Args:
        source: the model; its reshapes are changed.
        inputs: names of the inputs whose leading dimension was 1.
        batch: samples that they have now.
    """
    carried = set(inputs)
    if batch == 1 or not carried:
        return
    graph = source.proto.graph
    constants = {**source.weights, **_small_constants(graph)}
    made: dict[str, str] = {}
    for node in graph.node:
        if not carried.intersection(node.input):
            continue
        carried.update(node.output)
        if node.op_type != "Reshape" or node.domain or node.input[0] not in carried:
            continue
        shape = constants.get(node.input[1])
        if shape is None or shape.ndim != 1 or len(shape) < 2 or shape[0] != 1:
            continue
        old = node.input[1]
        if old not in made:
            made[old] = _added(source, old, np.concatenate([[batch], shape[1:]]).astype(np.int64))
        node.input[1] = made[old]


def _added(source: ModelSource, old: str, shape: NDArray[np.int64]) -> str:
    """A new weight, listed as the model's other weights are."""
    graph = source.proto.graph
    taken = {*source.weights, *(name for node in graph.node for name in node.output)}
    name = f"{old} of another batch"
    while name in taken:
        name += "_"
    source.weights[name] = shape
    kind = onnx.helper.make_tensor_type_proto(onnx.TensorProto.INT64, shape.shape)
    graph.input.add(name=name).type.CopyFrom(kind)
    return name


def _small_constants(graph: onnx.GraphProto) -> Mapping[str, NDArray[Any]]:
    """Tensors of the Constant nodes that are no weights, and lists of integers."""
    found: dict[str, NDArray[Any]] = {}
    for node in graph.node:
        if node.op_type != "Constant" or node.domain or len(node.output) != 1:
            continue
        for one in node.attribute:
            if one.name == "value" and one.HasField("t"):
                found[node.output[0]] = numpy_helper.to_array(one.t)
            elif one.name == "value_ints":
                found[node.output[0]] = np.array(one.ints, np.int64)
    return found
