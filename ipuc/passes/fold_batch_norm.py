"""Fold batch normalisation at inference into the convolution before it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ipuc.graph.ir import Graph, Node, constant_type, drop_unused
from ipuc.passes.define import GraphPass, PassResult, copy_graph, fresh

Array = NDArray[Any]

#: Default of the attribute. Source: ONNX BatchNormalization-7 to 15.
_EPSILON = 1e-5


@dataclass(frozen=True)
class FoldBatchNorm(GraphPass):
    """Replace Conv + BatchNormalization by one Conv with other weights and bias.

    y = s * (conv(x, w) + b - mean) / sqrt(var + eps) + t is a convolution with weights w * k and
    bias (b - mean) * k + t, where k = s / sqrt(var + eps) for each output channel. It is computed
    in float64 and rounded once. A normalisation stays if its parameters are not constant, it
    trains, or another node (or the user) reads the convolution's own result.
    Source: ONNX BatchNormalization-15 (inference).
    """

    name: ClassVar[str] = "fold-batch-norm"

    def run(self, graph: Graph) -> PassResult:
        """Apply the pass."""
        readers = graph.consumers()
        makers = {node.outputs[0]: node for node in graph.nodes if node.op == "Conv"}
        result = copy_graph(graph)
        replaced: dict[str, Node | None] = {}  # by node name
        for norm in graph.nodes:
            conv = makers.get(norm.inputs[0]) if _is_inference(graph, norm) else None
            if conv is None or conv.domain or conv.outputs[0] in graph.outputs:
                continue
            if len(readers[conv.outputs[0]]) != 1:
                continue
            folded = _folded_parameters(graph, conv, norm)
            if folded is None:
                continue
            replaced[norm.name] = None
            replaced[conv.name] = _add(result, conv, norm, folded)
        if not replaced:
            return PassResult(graph, modified=False)
        nodes = [replaced.get(node.name, node) for node in graph.nodes]
        result.nodes = [node for node in nodes if node is not None]
        drop_unused(result)
        return PassResult(result, modified=True)


def _is_inference(graph: Graph, node: Node) -> bool:
    """Whether the node is a normalisation per channel by constant statistics."""
    if node.op != "BatchNormalization" or node.domain or any(node.outputs[1:]):
        return False
    if node.attributes.get("training_mode", 0) or not node.attributes.get("spatial", 1):
        return False
    return all(name in graph.constants for name in node.inputs[1:5])


def _folded_parameters(graph: Graph, conv: Node, norm: Node) -> tuple[Array, Array] | None:
    """Weights [out, in/groups, *kernel] and bias [out] of the one convolution.

    None if they are not known, or do not fit the element type.
    """
    bias_name = conv.inputs[2] if len(conv.inputs) > 2 else ""
    if conv.inputs[1] not in graph.constants or (bias_name and bias_name not in graph.constants):
        return None
    weights = graph.constants[conv.inputs[1]]
    scale, shift, mean, var = (graph.constants[n].astype(np.float64) for n in norm.inputs[1:5])
    bias = graph.constants[bias_name].astype(np.float64) if bias_name else np.zeros(len(weights))
    epsilon = norm.attributes.get("epsilon", _EPSILON)
    with np.errstate(all="ignore"):
        factor = scale / np.sqrt(var + epsilon)
        wide = weights.astype(np.float64) * factor.reshape(-1, *[1] * (weights.ndim - 1))
        new = (wide.astype(weights.dtype), ((bias - mean) * factor + shift).astype(weights.dtype))
    return new if all(np.isfinite(array).all() for array in new) else None


def _add(result: Graph, conv: Node, norm: Node, folded: tuple[Array, Array]) -> Node:
    """Add the new constants to the graph and write the one convolution."""
    names = []
    for array, base in zip(folded, (conv.inputs[1], f"{norm.name}/bias"), strict=True):
        name = fresh(result, f"{base}/folded" if base == conv.inputs[1] else base)
        result.constants[name] = array
        result.types[name] = constant_type(array)
        names.append(name)
    return replace(
        conv,
        inputs=(conv.inputs[0], *names),
        outputs=(norm.outputs[0],),
        origins=(*conv.origins, *norm.origins),
    )
