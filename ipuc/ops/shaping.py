"""What the operators that only give their input another shape have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from numpy.typing import NDArray

from ipuc.graph.ir import Node
from ipuc.ops.define import Op
from ipuc.ops.writer import GraphWriter
from ipuc.planner.context import Context


class Reshaping(Op):
    """An operator whose output has the input's elements in row-major order.

    What its attributes or inputs say of the shape, in every operator set, is already in the
    output's static type.
    """

    def gradient(
        self, write: GraphWriter, node: Node, upstream: Sequence[str], wanted: Sequence[bool]
    ) -> Sequence[str]:
        """The gradient under the input's shape."""
        del wanted
        x, *others = node.inputs
        return [write.reshaped(upstream[0], write.shape(x)), *("" for _ in others)]

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
    return settings(ctx.constant, node, position, attribute)


def settings(
    known: Callable[[str], NDArray[Any] | None], node: Node, position: int, attribute: str
) -> list[int] | None:
    """`integers`, for whoever has no lowering at hand.

    Args:
        known: contents of a value; None if it is no constant.
        node: whose input or attribute is read.
        position: of the input.
        attribute: its name in older operator sets.
    """
    if position < len(node.inputs) and node.inputs[position]:
        array = known(node.inputs[position])
        return None if array is None else [int(i) for i in array.reshape(-1)]
    if attribute in node.attributes:
        return [int(i) for i in node.attributes[attribute]]
    return None
