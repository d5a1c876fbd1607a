"""What Gemm and MatMul have in common: products, and fully connected layers that are trained."""

from __future__ import annotations

from ipuc.graph.ir import Node
from ipuc.ops.writer import GraphWriter
from ipuc.planner.context import Context
from ipuc.planner.dense_layer import DenseLayer
from ipuc.planner.product import multiply
from ipuc.program.tensor import Tensor


def matrix_product(
    write: GraphWriter, a: str, b: str, turn_a: int, turn_b: int, alpha: float = 1.0
) -> str:
    """Write alpha * A' @ B', where ' transposes if the number is 1."""
    return write.op(
        "Gemm",
        a,
        b,
        transA=turn_a or None,
        transB=turn_b or None,
        alpha=None if alpha == 1 else alpha,
    )


def product(ctx: Context, a: Tensor, b: Tensor, name: str) -> Tensor:
    """Multiply a [m, k] by b [k, n], by the plan of the layer that the product belongs to."""
    node = ctx.node
    layer = None if node is None else trained_layer(ctx, node.layer_name, a.itemsize)
    if node is None or layer is None:
        return multiply(ctx, a, b, name)
    forward = _forward(ctx, node.layer_name)
    assert forward is not None  # it has a plan
    if node.name == forward.name:
        return layer.forward(a, b.transpose((1, 0)), name)
    if forward.inputs[1] in node.inputs and not _updates(node):
        return layer.data_gradient(a, b, name)
    if _outs_first(forward):
        return layer.weight_gradient(b, a.transpose((1, 0)), name)
    return layer.weight_gradient(a.transpose((1, 0)), b, name).transpose((1, 0))


def trained_layer(ctx: Context, name: str, itemsize: int) -> DenseLayer | None:
    """The plan of a fully connected layer of which all three passes are in the graph.

    A product of two computed values has none: there are no weights to keep in place.

    Args:
        ctx: the lowering.
        name: of the layer's forward node.
        itemsize: bytes of an element.
    """
    forward = _forward(ctx, name)
    if ctx.granularity != "tile" or forward is None:
        return None
    weights = forward.inputs[1]
    passes = [node for node in ctx.graph.nodes if node.layer_name == name and _multiplies(node)]
    backward = [node for node in passes if node.name != name]
    made = {weights in node.inputs and not _updates(node) for node in backward}
    if made != {True, False} or any(ctx.choices.pinned(node.name) for node in passes):
        return None
    rows, columns = ctx.graph.types[weights].shape
    outs, ins = (rows, columns) if _outs_first(forward) else (columns, rows)
    batch = ctx.graph.types[forward.outputs[0]].size // max(outs, 1)
    return DenseLayer(ctx, batch, ins, outs, itemsize, name)


def _forward(ctx: Context, name: str) -> Node | None:
    """The forward node of a fully connected layer: a matrix of weights on the right."""
    for node in ctx.graph.nodes:
        if node.name != name or node.domain or node.op not in ("Gemm", "MatMul"):
            continue
        weights = node.inputs[1]
        computed = any(weights in other.outputs for other in ctx.graph.nodes)
        plain = len(ctx.graph.types[weights].shape) == 2
        return node if plain and not computed and not node.attributes.get("transA") else None
    return None


def _outs_first(forward: Node) -> bool:
    """Whether the weights are [outs, ins] and not [ins, outs]."""
    return bool(forward.attributes.get("transB"))


def _multiplies(node: Node) -> bool:
    return node.op in ("Gemm", "MatMul") or _updates(node)


def _updates(node: Node) -> bool:
    """Whether a node makes the gradient of the weights and changes them at once."""
    return node.op == "DenseUpdate"
