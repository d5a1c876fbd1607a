"""Carry float64 values inside a model as float32."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ipuc.errors import ValueRangeError
from ipuc.graph.ir import Graph, Node
from ipuc.passes.define import GraphPass, PassResult, copy_graph

#: Numbers of element types in ONNX's TensorProto.DataType.
_FLOAT, _DOUBLE = 1, 11


@dataclass(frozen=True)
class NarrowFloat64(GraphPass):
    """Make float32 of the float64 values between a cast to float64 and a cast back.

    An IPU tile has no float64 arithmetic. Bodies of ONNX's functions use it for a few more digits
    (ReduceLogSumExp, window masks of Attention); we carry such values as float32, with float32's
    precision and range, as 64-bit integers are carried as 32-bit. A model that takes or gives
    float64 asks for that precision: it stays as it is, and is refused.
    """

    name: ClassVar[str] = "narrow-float64"

    def run(self, graph: Graph) -> PassResult:
        """Apply the pass.

        Raises:
            ValueRangeError: a constant is finite in float64 and infinite in float32.
        """
        wide = {name for name, kind in graph.types.items() if kind.dtype == "float64"}
        if not wide or not wide.isdisjoint((*graph.inputs, *graph.outputs)):
            return PassResult(graph, modified=False)
        result = copy_graph(graph, [_narrowed(node) for node in graph.nodes])
        for name in wide:
            result.types[name] = replace(graph.types[name], dtype="float32")
            if name in graph.constants:
                result.constants[name] = _as_float32(graph.constants[name], name)
        return PassResult(result, modified=True)


def _narrowed(node: Node) -> Node:
    """Let a node that names its result's element type make float32."""
    if node.attributes.get("to") != _DOUBLE:
        return node
    return replace(node, attributes={**node.attributes, "to": _FLOAT})


def _as_float32(array: NDArray[Any], name: str) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):
        narrow = np.asarray(array, np.float32)
    lost = np.isfinite(array) & ~np.isfinite(narrow)
    if lost.any():
        raise ValueRangeError(
            f"{array[lost].flat[0]:g} does not fit the float32 numbers that tiles carry",
            where=f'constant "{name}"',
            fix="keep float64 constants between -3.4e38 and 3.4e38",
        )
    return narrow
