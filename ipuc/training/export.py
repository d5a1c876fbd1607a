"""A training graph as plain ONNX, so that somebody else's engine can do the same step."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ipuc.graph.bodies import DOMAIN, parse_body
from ipuc.graph.export import to_model
from ipuc.graph.ir import Graph
from ipuc.ops.define import Function, operators


def as_model(graph: Graph) -> Any:
    """Write a graph with state as an ONNX model.

    State becomes inputs that have their initial contents as defaults, and outputs: "W" in,
    "new/W" out. Operators of our own are functions of the model, with standard bodies.

    Returns:
        The model, an onnx.ModelProto.
    """
    known = operators()
    bodies = []
    for domain, op in dict.fromkeys((node.domain, node.op) for node in graph.nodes):
        if domain == DOMAIN:
            operator = known[domain, op]
            assert isinstance(operator, Function)
            bodies.append(parse_body(operator.body))
    plain = replace(
        graph,
        inputs=[*graph.inputs, *graph.state],
        outputs=list(dict.fromkeys(graph.roots())),
        constants={
            **graph.constants,
            **{name: state.initial for name, state in graph.state.items()},
        },
        state={},
    )
    return to_model(plain, functions=bodies)
