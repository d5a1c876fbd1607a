"""What the operators that only give their input another shape have in common."""

from __future__ import annotations

from ipuc.graph.ir import Node
from ipuc.ops.define import Op
from ipuc.planner.context import Context


class Reshaping(Op):
    """An operator whose output has the input's elements in row-major order.

    What its attributes or inputs say of the shape, in every operator set, is already in the
    output's static type.
    """

    def lower(self, ctx: Context, node: Node) -> None:
        """A view; a copy only where the elements do not lie as a view needs them."""
        (output,) = node.outputs
        x = ctx.tensor(node.inputs[0])
        ctx.define(output, ctx.builder.reshape(x, ctx.type(output).shape, output))


def axis_of(node: Node, rank: int, default: int = 0) -> int:
    """The node's `axis`, counted from the front."""
    return int(node.attributes.get("axis", default)) % max(rank, 1)


def integers(ctx: Context, node: Node, position: int, attribute: str) -> list[int] | None:
    """Whole numbers that an input gives, or in older operator sets an attribute.

    Returns:
        None if the node gives neither.
    """
    if position < len(node.inputs) and node.inputs[position]:
        array = ctx.constant(node.inputs[position])
        return None if array is None else [int(i) for i in array.reshape(-1)]
    if attribute in node.attributes:
        return [int(i) for i in node.attributes[attribute]]
    return None
