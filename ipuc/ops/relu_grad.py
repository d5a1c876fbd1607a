"""ReluGrad: the gradient of Relu."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from ipuc.codelets.select import Select
from ipuc.graph.ir import Node
from ipuc.ops.binary import binary
from ipuc.ops.define import Example, Function
from ipuc.planner.context import Context
from ipuc.planner.elementwise import elementwise
from ipuc.planner.worker.elements import rectified_back
from ipuc.types import TensorType


class ReluGrad(Function):
    """The gradient of y = max(x, 0): that of y where y > 0, else 0.

    Source: PopLibs popnn NonLinearityGrad, which reads the output and not the input.
    """

    name: ClassVar[str] = "ReluGrad"
    body: ClassVar[str] = """
        <domain: "ai.ipuc", opset_import: ["" : 18]>
        ReluGrad (y, dy) => (dx) {
            zero = Constant <value = float {0.0}> ()
            none = CastLike (zero, y)
            passes = Greater (y, none)
            dx = Where (passes, dy, none)
        }
    """

    def infer(self, node: Node, types: Sequence[TensorType | None]) -> list[TensorType]:
        """The gradient has the type of what it belongs to."""
        del node
        (_, upstream) = types
        assert upstream is not None
        return [upstream]

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """Any shape; half of random values pass."""
        kind = TensorType("float32", (3, 5, 2))
        return (Example((kind, kind)),)

    def lower(self, ctx: Context, node: Node) -> None:
        """A comparison and a choice; at granularity `worker` one vertex makes both, as in 2017."""
        y, upstream = ctx.inputs(node)
        (output,) = node.outputs
        if ctx.granularity == "worker" and y.dtype == upstream.dtype:
            made = rectified_back(ctx, y, upstream, output)
            if made is not None:
                ctx.define(output, made)
                return
        zero = ctx.scalar(0.0, y.dtype, y.shape)
        passes = binary(ctx, "gt", y, zero, f"{output} passes", "bool")
        operands = {"flag": passes, "a": upstream, "b": ctx.scalar(0.0, y.dtype, y.shape)}
        made = elementwise(ctx, Select(), operands, upstream.dtype, output, ("a",))
        ctx.define(output, made)
