"""Between our nodes and ONNX's protobuf messages: names, attributes, types.

`onnx` messages stop here: the rest of the compiler sees `Node`, `TensorType` and arrays.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from ipuc.graph.ir import Node
from ipuc.types import TensorType

_A = onnx.AttributeProto

#: Attribute types that a node of ours can hold. Sub-graphs are resolved on import.
_PLAIN = {_A.FLOAT, _A.INT, _A.STRING, _A.TENSOR, _A.FLOATS, _A.INTS, _A.STRINGS}

_ELEM_TYPES = frozenset(helper.get_all_tensor_dtypes())


def schema_of(op: str, opset: int, domain: str = "") -> onnx.defs.OpSchema | None:
    """Find what ONNX says about an operator; None if this ONNX does not know it.

    A deprecated operator counts as unknown, because nothing defines its meaning any more.
    """
    try:
        schema = onnx.defs.get_schema(op, opset, domain)
    except onnx.defs.SchemaError:
        return None
    return None if schema.deprecated else schema


def dtype_name(elem_type: int) -> str:
    """Name the NumPy type of an ONNX element type; strings are "object", unknown numbers ""."""
    if elem_type not in _ELEM_TYPES:
        return ""
    return str(helper.tensor_dtype_to_np_dtype(elem_type).name)


def elem_type(dtype: str) -> int:
    """Number ONNX gives to an element type."""
    return int(helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))


def type_to_proto(kind: TensorType) -> onnx.TypeProto:
    """Write a tensor type as ONNX does."""
    return helper.make_tensor_type_proto(elem_type(kind.dtype), kind.shape)


def _text(raw: bytes) -> str | bytes:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw


def attribute_value(proto: onnx.AttributeProto) -> Any:
    """Take an attribute out of protobuf: int, float, str, array, or a list of these.

    Raises:
        TypeError: the attribute is a graph, a type or a sparse tensor.
    """
    if proto.type not in _PLAIN:
        raise TypeError(f'attribute "{proto.name}" is a {_A.AttributeType.Name(proto.type)}')
    if proto.type == _A.TENSOR:
        return numpy_helper.to_array(proto.t)
    if proto.type == _A.STRING:
        return _text(proto.s)
    if proto.type == _A.STRINGS:
        return [_text(raw) for raw in proto.strings]
    value = helper.get_attribute_value(proto)
    return list(value) if proto.type in (_A.FLOATS, _A.INTS) else value


def attributes_from_proto(protos: Iterable[onnx.AttributeProto]) -> dict[str, Any]:
    """Take all attributes of a node out of protobuf."""
    return {proto.name: attribute_value(proto) for proto in protos}


def _attribute_to_proto(
    name: str, value: Any, schema: onnx.defs.OpSchema | None
) -> onnx.AttributeProto:
    kind = None
    if schema is not None and name in schema.attributes:
        declared: Any = schema.attributes[name].type
        kind = int(declared)
    # Python code writes alpha=1 where ONNX means 1.0, and an empty list has no type of its own.
    if kind == _A.FLOAT:
        value = float(value)
    elif kind == _A.FLOATS:
        value = [float(item) for item in value]
    elif isinstance(value, np.ndarray):
        value = numpy_helper.from_array(value)
    if isinstance(value, (list, tuple)) and not value:
        return helper.make_attribute(name, [], attr_type=_A.INTS if kind is None else kind)
    return helper.make_attribute(name, value)


def node_to_proto(node: Node) -> onnx.NodeProto:
    """Write a node as ONNX does."""
    proto = helper.make_node(
        node.op, list(node.inputs), list(node.outputs), name=node.name, domain=node.domain
    )
    schema = schema_of(node.op, node.opset, node.domain)
    proto.attribute.extend(
        _attribute_to_proto(name, value, schema) for name, value in node.attributes.items()
    )
    return proto
