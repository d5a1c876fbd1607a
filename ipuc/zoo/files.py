"""Put weights and skeleton together: as a message in memory, or straight into a file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto

from ipuc.files import whole
from ipuc.types import Shape
from ipuc.zoo.draft import Draft, Weights

# Field numbers of ONNX's protobuf schema (onnx.proto), all of wire type 2, "length-delimited".
_MODEL_GRAPH = 7
_GRAPH_INITIALIZER = 5
_TENSOR_RAW_DATA = 9


def assemble(draft: Draft, weights: Weights) -> onnx.ModelProto:
    """Make the whole model as one message.

    Args:
        draft: the model without weights; it is left as it is.
        weights: what `fill` returned; emptied on the way, so that at no time two copies of all
            weights exist.

    Returns:
        The model, weights as raw float32 initializers.
    """
    model = onnx.ModelProto()
    model.CopyFrom(draft.skeleton)
    for name, shape in draft.shapes.items():
        tensor = model.graph.initializer.add()
        tensor.CopyFrom(_header(name, shape))
        tensor.raw_data = _little_endian(weights.pop(name)).tobytes()
    return model


def save(draft: Draft, weights: Weights, path: Path) -> Path:
    """Write the whole model, weights straight from their arrays; whole or not at all.

    Returns:
        The path.

    Raises:
        ContainerError: the file cannot be written there.
    """
    with whole(path, "the model") as stream:
        stream.writelines(_pieces(draft, weights))
    return path


def file_bytes(draft: Draft) -> int:
    """Count the bytes of the file that `save` writes."""
    outer, graph = _split(draft)
    length = _graph_length(draft, graph)
    return len(outer) + len(_prefix(_MODEL_GRAPH, length)) + length


def _pieces(draft: Draft, weights: Weights) -> Iterator[bytes | memoryview]:
    """Yield the file's bytes in order; a weight is yielded as a view of its array."""
    outer, graph = _split(draft)
    yield outer
    yield _prefix(_MODEL_GRAPH, _graph_length(draft, graph))
    yield graph
    for name, shape in draft.shapes.items():
        yield _initializer_head(name, shape)
        yield _little_endian(weights[name]).reshape(-1).view(np.uint8).data


def _split(draft: Draft) -> tuple[bytes, bytes]:
    """Serialize the skeleton's model fields and its graph apart."""
    outer = onnx.ModelProto()
    outer.CopyFrom(draft.skeleton)
    outer.ClearField("graph")
    return bytes(outer.SerializeToString()), bytes(draft.skeleton.graph.SerializeToString())


def _graph_length(draft: Draft, graph: bytes) -> int:
    heads = sum(len(_initializer_head(name, shape)) for name, shape in draft.shapes.items())
    return len(graph) + heads + draft.weight_bytes()


def _initializer_head(name: str, shape: Shape) -> bytes:
    """All bytes of one initializer up to its data, which is its last field."""
    size = 4 * int(np.prod(shape, dtype=np.int64))
    tensor = _header(name, shape).SerializeToString() + _prefix(_TENSOR_RAW_DATA, size)
    return _prefix(_GRAPH_INITIALIZER, len(tensor) + size) + bytes(tensor)


def _header(name: str, shape: Shape) -> TensorProto:
    return TensorProto(name=name, dims=shape, data_type=TensorProto.FLOAT)


def _prefix(field: int, length: int) -> bytes:
    """Announce a length-delimited field: its tag, then its length, both as varints."""
    return _varint(field << 3 | 2) + _varint(length)


def _varint(number: int) -> bytes:
    """Write a number in groups of seven bits, lowest first; the top bit says that more follow."""
    groups = bytearray()
    while number >= 0x80:
        groups.append(number & 0x7F | 0x80)
        number >>= 7
    groups.append(number)
    return bytes(groups)


def _little_endian(weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """ONNX's raw_data is little-endian whatever the machine is."""
    return np.ascontiguousarray(weight, "<f4")
