"""FiniteCheck: whether all elements are finite."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from ipuc.graph.ir import Node
from ipuc.ops.binary import binary
from ipuc.ops.define import Example, Function
from ipuc.planner.context import Context
from ipuc.planner.reduction import reduce
from ipuc.types import TensorType


class FiniteCheck(Function):
    """0 if all elements are finite, else NaN; NaN too if their sum is too large for float32.

    A sum shows every infinity and NaN, and 0 times either is NaN.
    Source: our own; what PopLibs popops hasNaNOrInf tells.
    """

    name: ClassVar[str] = "FiniteCheck"
    body: ClassVar[str] = """
        <domain: "ai.ipuc", opset_import: ["" : 18]>
        FiniteCheck (x) => (check) {
            wide = Cast <to = 1> (x)
            total = ReduceSum <keepdims = 0> (wide)
            one = Constant <value_ints = [1]> ()
            flat = Reshape (total, one)
            zero = Constant <value = float {0.0}> ()
            check = Mul (flat, zero)
        }
    """

    def infer(self, node: Node, types: Sequence[TensorType | None]) -> list[TensorType]:
        """One number."""
        del node, types
        return [TensorType("float32", (1,))]

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """Finite numbers; that others show is tested with the loss scale."""
        return (
            Example((TensorType("float32", (6, 5)),)),
            Example((np.arange(40, dtype=np.float16).reshape(2, 4, 5),)),
        )

    def lower(self, ctx: Context, node: Node) -> None:
        """A sum in float32, times 0."""
        x, (output,) = ctx.tensor(node.inputs[0]), node.outputs
        total = reduce(ctx, "sum", x, list(range(len(x.shape))), f"{output} sum", dtype="float32")
        flat = ctx.builder.reshape(total, (1,))
        made = binary(ctx, "mul", flat, ctx.scalar(0.0, "float32", (1,)), output)
        ctx.define(output, made, wide=True)
