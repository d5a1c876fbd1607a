"""A graph as text: stable, compact, for reading and for golden files."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ipuc.graph.ir import Graph, Node

#: Constants and attribute arrays up to this many elements are written out.
_WRITTEN = 8


def _number(value: Any) -> str:
    if isinstance(value, (bool, np.bool_)):
        return "true" if value else "false"
    if isinstance(value, (float, np.floating)):
        return f"{float(value):.9g}"
    return str(value)


def _array(array: NDArray[Any]) -> str:
    """Short arrays by value; long ones by a checksum, which a golden file needs to see changes."""
    if array.size <= _WRITTEN:
        flat = array.ravel()
        if array.dtype.kind not in "biuf":
            flat = flat.astype(np.float32)
        return "[" + ", ".join(_number(item) for item in flat.tolist()) + "]"
    return f"crc {zlib.crc32(np.ascontiguousarray(array).view(np.uint8).data):08x}"


def _attribute(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.dtype.name}{_array(value)}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_attribute(item) for item in value) + "]"
    if isinstance(value, (str, bytes)):
        return repr(value)
    return _number(value)


def _node(graph: Graph, node: Node) -> str:
    outputs = ", ".join(f"%{n}: {graph.types[n]}" if n else "_" for n in node.outputs)
    inputs = ", ".join(f"%{name}" if name else "_" for name in node.inputs)
    domain = f"{node.domain}." if node.domain else ""
    attributes = ", ".join(f"{k}={_attribute(v)}" for k, v in sorted(node.attributes.items()))
    braces = f" {{{attributes}}}" if attributes else ""
    extra = [name for name in node.origins if name != node.name]
    origins = f" <- {', '.join(extra)}" if extra else ""
    return f"  {outputs} = {domain}{node.op}({inputs}){braces}  # {node.name}{origins}"


def to_text(graph: Graph) -> str:
    """Write a graph as lines of text, the same for the same graph.

    Constants stand sorted by name; nodes in the graph's own order. Long constants appear as a
    checksum of their bytes.
    """
    lines = [f'graph "{graph.name}" opset {graph.opset}']
    lines += [f"  input %{name}: {graph.types[name]}" for name in graph.inputs]
    lines += [
        f"  const %{name}: {graph.types[name]} {_array(array)}"
        for name, array in sorted(graph.constants.items())
    ]
    lines += [_node(graph, node) for node in graph.nodes]
    lines += [f"  output %{name}: {graph.types[name]}" for name in graph.outputs]
    return "\n".join(lines) + "\n"
