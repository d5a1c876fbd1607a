"""A graph as JSON without its weights: what a compiled program carries for its readers."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from ipuc.errors import ContainerError
from ipuc.graph.ir import Graph, Node
from ipuc.types import TensorType

#: Attribute arrays up to this many elements are written out.
_WRITTEN = 64


def to_json(graph: Graph) -> str:
    """Write the op graph as JSON.

    Returns:
        An object with `name`, `opset`, `inputs`, `outputs`, `values` (name to [dtype, shape],
        constants included), `constants` (names), `state` (name to the value it becomes) and
        `nodes`, each with `name`, `op`, `domain`, `opset`, `inputs`, `outputs`, `attributes`,
        `origins`, `layer` and `layer_pass`. Contents of constants and state are left out: the
        program has them.
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


def from_json(text: str) -> Graph:
    """Read a graph that `to_json` wrote: its structure, without the contents of constants.

    Attributes come back as JSON values; `constants` is empty, though `types` has them.

    Raises:
        ContainerError: the text is no such record.
    """
    try:
        record = json.loads(text)
        return Graph(
            name=str(record["name"]),
            inputs=[str(name) for name in record["inputs"]],
            outputs=[str(name) for name in record["outputs"]],
            types={
                name: TensorType(str(dtype), tuple(int(n) for n in shape))
                for name, (dtype, shape) in record["values"].items()
            },
            constants={},
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
