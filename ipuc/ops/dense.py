"""What Gemm and MatMul have in common: products, and fully connected layers that are trained."""

from __future__ import annotations

from ipuc.codelets.binary import BinaryOp
from ipuc.graph.ir import Node
from ipuc.ops.writer import GraphWriter
from ipuc.planner.context import Context
from ipuc.planner.dense_layer import DenseLayer
from ipuc.planner.elementwise import elementwise
from ipuc.planner.product import multiply
from ipuc.planner.worker import dense
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


def product(ctx: Context, a: Tensor, b: Tensor, name: str, bias: Tensor | None = None) -> Tensor:
    """Multiply a [m, k] by b [k, n], by the plan of the layer that the product belongs to.

    Args:
        ctx: the lowering.
        a: left.
        b: right.
        name: of the result.
        bias: is added to it; broadcasts to [m, n].
    """
    if by_2017(ctx, a, b):
        return _by_2017(ctx, a, b, name, bias)
    if bias is not None:
        operands = {"a": product(ctx, a, b, f"{name} product"), "b": bias}
        return elementwise(ctx, BinaryOp("add"), operands, a.dtype, name)
    node = ctx.node
    layer = None if node is None else trained_layer(ctx, node.layer_name, a.itemsize)
    if node is None or layer is None:
        return multiply(ctx, a, b, name)
    return _jointly(ctx, node, layer, (a, b), name)


def _jointly(
    ctx: Context, node: Node, layer: DenseLayer, operands: tuple[Tensor, Tensor], name: str
) -> Tensor:
    """A product that is one pass of a layer whose passes were planned together."""
    (a, b), forward = operands, _forward(ctx, node.layer_name)
    assert forward is not None  # it has a plan
    if _is_forward(node, forward):
        return layer.forward(a, b.transpose((1, 0)), name)
    if _reads_weights(node, forward):
        return layer.data_gradient(a, b, name)
    if _outs_first(forward):
        return layer.weight_gradient(b, a.transpose((1, 0)), name)
    return layer.weight_gradient(a.transpose((1, 0)), b, name).transpose((1, 0))


def by_2017(ctx: Context, a: Tensor, b: Tensor) -> bool:
    """Whether the rules of 2017 say how a matrix product is made."""
    return ctx.granularity == "worker" and a.size > 0 and b.size > 0


def _by_2017(ctx: Context, a: Tensor, b: Tensor, name: str, bias: Tensor | None) -> Tensor:
    """A product as one pass of a fully connected layer; one of computed values is a forward pass.

    Weights stay where the layer's forward pass has laid them, in the order of its input.
    """
    node = ctx.node
    forward = None if node is None else _forward(ctx, node.layer_name)
    if node is None or forward is None or _is_forward(node, forward):
        training = forward is not None and any(
            not _is_forward(one, forward) for one in _passes(ctx, forward.name)
        )
        return dense.forward(ctx, a, b.transpose((1, 0)), bias, name, training=training)
    assert bias is None  # only a forward pass has one
    if _reads_weights(node, forward):
        return dense.data_gradient(ctx, a, b, name)
    weights = ctx.tensor(forward.inputs[1])
    if _outs_first(forward):
        return dense.weight_gradient(ctx, b, a.transpose((1, 0)), weights, name)
    weights, left = weights.transpose((1, 0)), a.transpose((1, 0))
    return dense.weight_gradient(ctx, left, b, weights, name).transpose((1, 0))


def update(ctx: Context, a: Tensor, b: Tensor, weights: Tensor, rate: float, name: str) -> None:
    """Take rate * a @ b from the weights of the layer being lowered, by the rules of 2017.

    Args:
        ctx: the lowering.
        a: left, [m, batch].
        b: right, [batch, n].
        weights: [m, n], one view of a variable, which changes.
        rate: learning rate, by the loss scale.
        name: of the compute set.
    """
    forward = None if ctx.node is None else _forward(ctx, ctx.node.layer_name)
    if forward is None or _outs_first(forward):
        dense.weight_update(ctx, b, a.transpose((1, 0)), weights, rate, name)
    else:
        turned, left = weights.transpose((1, 0)), a.transpose((1, 0))
        dense.weight_update(ctx, left, b, turned, rate, name)


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
    passes = _passes(ctx, name)
    made = {_reads_weights(node, forward) for node in passes if not _is_forward(node, forward)}
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


def _passes(ctx: Context, name: str) -> list[Node]:
    """The products of a layer: forward, data gradient, weight gradient or update."""
    found = [node for node in ctx.graph.nodes if node.layer_name == name]
    return [node for node in found if node.op in ("Gemm", "MatMul", "DenseUpdate")]


def _is_forward(node: Node, forward: Node) -> bool:
    """Whether a pass of a layer is its forward one, or that computed again for the backward pass.

    A data gradient reads the weights too, but the other way round.
    """
    if node.op != forward.op or node.inputs[1] != forward.inputs[1]:
        return False
    return _outs_first(node) == _outs_first(forward) and not node.attributes.get("transA")


def _reads_weights(node: Node, forward: Node) -> bool:
    """Whether a pass of a layer other than the forward one makes the gradient of its input.

    DenseUpdate makes that of the weights, and changes them at once.
    """
    return forward.inputs[1] in node.inputs and node.op != "DenseUpdate"
