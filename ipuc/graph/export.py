"""A graph back as an ONNX model, so that somebody else's engine can run it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import EncodeError
from onnx import helper, numpy_helper

from ipuc.errors import ContainerError, OptionError, nearest
from ipuc.files import whole
from ipuc.graph.ir import Graph
from ipuc.graph.proto import node_to_proto, type_to_proto


def _value_info(graph: Graph, name: str) -> onnx.ValueInfoProto:
    return onnx.ValueInfoProto(name=name, type=type_to_proto(graph.types[name]))


def to_model(
    graph: Graph,
    extra_outputs: Iterable[str] = (),
    functions: Iterable[onnx.FunctionProto] = (),
) -> onnx.ModelProto:
    """Write a graph as an ONNX model.

    Args:
        graph: the graph; its constants become initializers.
        extra_outputs: further values to make graph outputs, such as every layer's.
        functions: ONNX functions that the graph's nodes call.

    Returns:
        A model that keeps every type as value info. A model of over 2 GB cannot be turned into
        bytes in one piece; save it with external data.

    Raises:
        OptionError: an extra output is no value of the graph.
    """
    outputs = list(dict.fromkeys([*graph.outputs, *extra_outputs]))
    for name in outputs:
        if name not in graph.types:
            raise OptionError(f'the graph has no value "{name}"', fix=nearest(name, graph.types))
    named = {*graph.inputs, *graph.constants, *outputs}
    proto = helper.make_graph(
        [node_to_proto(node) for node in graph.nodes],
        graph.name or "graph",
        [_value_info(graph, name) for name in graph.inputs],
        [_value_info(graph, name) for name in outputs],
        value_info=[_value_info(graph, name) for name in graph.values() if name not in named],
    )
    for name, array in graph.constants.items():
        # asarray with order C, not ascontiguousarray, which would turn a scalar into a vector.
        proto.initializer.append(numpy_helper.from_array(np.asarray(array, order="C"), name))
    versions = {"": graph.opset}
    versions |= {node.domain: node.opset for node in graph.nodes}
    bodies = list(functions)
    versions |= {body.domain: 1 for body in bodies if body.domain not in versions}
    opsets = [helper.make_opsetid(domain, version) for domain, version in versions.items()]
    model = helper.make_model(proto, producer_name="ipuc", opset_imports=opsets, functions=bodies)
    # Version 10 suffices for every type we carry, and older engines still read it.
    model.ir_version = min(model.ir_version, max(10, helper.find_min_ir_version_for(opsets, True)))
    helper.set_model_props(model, graph.metadata)
    return model


def write_model(model: onnx.ModelProto, path: Path) -> None:
    """Write a model into one file; whole or not at all.

    Raises:
        ContainerError: the file cannot be written, or the model is over 2 GB.
    """
    try:
        data = model.SerializeToString()
    except (EncodeError, ValueError) as error:
        raise ContainerError(
            f"the model cannot be written as one file: {error}",
            where=str(path),
            fix="an ONNX file holds at most 2 GB",
        ) from error
    with whole(path, "the model") as stream:
        stream.write(data)
