"""A graph as JSON without its weights: what a compiled program carries for its readers."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Collection
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ipuc.errors import ContainerError
from ipuc.graph.ir import Graph, Node, State
from ipuc.types import TensorType

#: Attribute arrays up to this many elements are written out.
_WRITTEN = 64


def to_json(graph: Graph, inside: Collection[str] = ()) -> str:
    """Write the op graph as JSON.

    Args:
        graph: the op graph.
        inside: constants whose contents are written too: those that the program does not hold.

    Returns:
        An object with `name`, `opset`, `inputs`, `outputs`, `values` (name to [dtype, shape],
        constants included), `constants` (names), `state` (name to the value it becomes) and
        `nodes`, each with `name`, `op`, `domain`, `opset`, `inputs`, `outputs`, `attributes`,
        `origins`, `layer` and `layer_pass`; and `contents` (constants in base64). Contents of
        other constants and of state are left out: the program has them.
    """
    return json.dumps(
        {
            "name": graph.name,
            "opset": graph.opset,
            "inputs": graph.inputs,
            "outputs": graph.outputs,
            "values": {name: [kind.dtype, list(kind.shape)] for name, kind in graph.types.items()},
            "constants": list(graph.constants),
            "state": {name: state.output for name, state in graph.state.items()},
            "nodes": [_node(node) for node in graph.nodes],
            "contents": {name: _packed(graph.constants[name]) for name in inside},
        },
        separators=(",", ":"),
    )


def _node(node: Node) -> dict[str, Any]:
    return {
        "name": node.name,
        "op": node.op,
        "domain": node.domain,
        "opset": node.opset,
        "inputs": list(node.inputs),
        "outputs": list(node.outputs),
        "attributes": {name: _plain(value) for name, value in node.attributes.items()},
        "origins": list(node.origins),
        "layer": node.layer,
        "layer_pass": node.layer_pass,
    }


def _plain(value: Any) -> Any:
    """An attribute as a JSON value; NaN and infinities, which JSON lacks, as text."""
    if isinstance(value, np.ndarray):
        kind = f"{value.dtype.name}{list(value.shape)}"
        return _plain(value.tolist()) if value.size <= _WRITTEN else kind
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, float | np.floating):
        return float(value) if np.isfinite(value) else str(float(value))
    if isinstance(value, np.generic):
        return value.item()
    return value


def _packed(array: NDArray[Any]) -> str:
    little = np.asarray(array, array.dtype.newbyteorder("<"), order="C")
    return base64.b64encode(little.tobytes()).decode("ascii")


def _unpacked(text: Any, kind: TensorType) -> NDArray[Any]:
    dtype = np.dtype(kind.dtype).newbyteorder("<")
    flat = np.frombuffer(base64.b64decode(str(text), validate=True), dtype)
    return flat.reshape(kind.shape).astype(kind.dtype)


def from_json(text: str, arrays: Callable[[str], NDArray[Any]] | None = None) -> Graph:
    """Read a graph that `to_json` wrote.

    Args:
        text: the JSON.
        arrays: gives the contents of a constant or state that the program holds. Without it
            `constants` and `state` are empty, though `types` has them.

    Attributes come back as JSON values.

    Raises:
        ContainerError: the text is no such record.
    """
    try:
        record = json.loads(text)
        types = {
            name: TensorType(str(dtype), tuple(int(n) for n in shape))
            for name, (dtype, shape) in record["values"].items()
        }
        packed = record.get("contents", {})
        constants, state = {}, {}
        if arrays is not None:
            for name in record["constants"]:
                known = packed.get(name)
                found = arrays(name) if known is None else _unpacked(known, types[name])
                constants[name] = found
            for name, output in record.get("state", {}).items():
                state[name] = State(str(output), arrays(name))
        return Graph(
            name=str(record["name"]),
            inputs=[str(name) for name in record["inputs"]],
            outputs=[str(name) for name in record["outputs"]],
            types=types,
            constants=constants,
            state=state,
            nodes=[
                Node(
                    name=str(node["name"]),
                    op=str(node["op"]),
                    inputs=tuple(map(str, node["inputs"])),
                    outputs=tuple(map(str, node["outputs"])),
                    attributes=dict(node["attributes"]),
                    domain=str(node["domain"]),
                    opset=int(node["opset"]),
                    origins=tuple(map(str, node["origins"])),
                    layer=str(node.get("layer", "")),
                    layer_pass=str(node.get("layer_pass", "forward")),
                )
                for node in record["nodes"]
            ],
            opset=int(record["opset"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ContainerError(
            "this program carries no op graph, or it is damaged",
            fix="compile the model again",
        ) from error
