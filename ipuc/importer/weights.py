"""Other weights for a model, in its own file format: what training has made of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from ipuc.errors import ImportFailure
from ipuc.importer.limits import DEFAULT_MAX_BYTES
from ipuc.importer.read import ModelSource, read_model
from ipuc.importer.rebatch import reopen_reshapes
from ipuc.types import Shape

Array = NDArray[Any]


def with_weights(
    model: str | Path | onnx.ModelProto,
    arrays: Mapping[str, Array],
    metadata: Mapping[str, str],
    max_bytes: int = DEFAULT_MAX_BYTES,
) -> onnx.ModelProto:
    """A model with other contents in some of its initializers; everything else as it was.

    Args:
        model: path of an ONNX file, or a model (which is not changed).
        arrays: by initializer name.
        metadata: entries to add or replace; an empty text removes one.
        max_bytes: the most that the file and its weights may take.

    Raises:
        ImportFailure: the model cannot be read, or keeps a weight where it cannot be replaced.
    """
    source = read_model(model, max_bytes=max_bytes)
    _hold_names(source, arrays)
    proto = _without_weight_inputs(source, kept=source.defaults)
    for name, array in {**source.weights, **arrays}.items():
        proto.graph.initializer.append(numpy_helper.from_array(np.asarray(array, order="C"), name))
    entries = {one.key: one.value for one in proto.metadata_props} | dict(metadata)
    onnx.helper.set_model_props(proto, {key: text for key, text in entries.items() if text})
    return proto


def with_open_weights(
    model: str | Path | onnx.ModelProto,
    names: Collection[str],
    shapes: Mapping[str, Shape],
    max_bytes: int = DEFAULT_MAX_BYTES,
) -> onnx.ModelProto:
    """A model that takes some of its weights as inputs, so that one program serves all of them.

    Args:
        model: path of an ONNX file, or a model (which is not changed).
        names: of the initializers that become inputs.
        shapes: of the other inputs.
        max_bytes: the most that the file and its weights may take.

    Raises:
        ImportFailure: as `with_weights`.
    """
    source = read_model(model, max_bytes=max_bytes)
    _hold_names(source, names)
    fixed = [
        one.name
        for one in source.proto.graph.input
        if one.name in shapes
        and [dim.dim_value for dim in one.type.tensor_type.shape.dim[:1]] == [1]
    ]
    reopen_reshapes(source, fixed, next((shapes[name][0] for name in fixed), 1))
    proto = _without_weight_inputs(source, kept={*source.defaults, *names})
    for name, array in source.weights.items():
        if name not in names:
            proto.graph.initializer.append(
                numpy_helper.from_array(np.asarray(array, order="C"), name)
            )
    del proto.graph.value_info[:]  # they may tell of another batch
    for info in proto.graph.input:
        if info.name in shapes:
            kind = info.type.tensor_type.elem_type
            info.type.CopyFrom(onnx.helper.make_tensor_type_proto(kind, shapes[info.name]))
    for info in proto.graph.output:
        info.type.tensor_type.ClearField("shape")
    return proto


def _without_weight_inputs(source: ModelSource, kept: Collection[str]) -> onnx.ModelProto:
    """The model's own message, in which only some weights are listed as inputs."""
    proto = source.proto
    listed = [
        one for one in proto.graph.input if one.name not in source.weights or one.name in kept
    ]
    copies = [onnx.ValueInfoProto.FromString(one.SerializeToString()) for one in listed]
    del proto.graph.input[:]
    proto.graph.input.extend(copies)
    return proto


def _hold_names(source: ModelSource, names: Collection[str]) -> None:
    """Take weights that are small Constant nodes out of the nodes; all others are known.

    Raises:
        ImportFailure: a weight is neither: it lies in a function.
    """
    nodes = source.proto.graph.node
    for at in range(len(nodes) - 1, -1, -1):
        node = nodes[at]
        if node.op_type == "Constant" and len(node.output) == 1 and node.output[0] in names:
            value = next((one.t for one in node.attribute if one.name == "value"), None)
            if value is not None:
                array = numpy_helper.to_array(value)
                source.weights[node.output[0]] = array
                kind = onnx.helper.make_tensor_type_proto(value.data_type, array.shape)
                source.proto.graph.input.add(name=node.output[0]).type.CopyFrom(kind)
                del nodes[at]
    unknown = [name for name in names if name not in source.weights]
    if unknown:
        raise ImportFailure(
            f'the weight "{unknown[0]}" is no initializer of the model',
            where=source.where(),
            fix="export the model with its functions inlined",
        )
