"""AdamFactors: the numbers that all weights share in one step of Adam."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from ipuc.codelets.adam_factors import AdamFactors as Vertex
from ipuc.graph.ir import Node
from ipuc.ops.define import Example, Function
from ipuc.planner.context import Context
from ipuc.program.family import separable
from ipuc.types import TensorType


class AdamFactors(Function):
    """1 / scale, rate / (1 - beta1 ** step), 1 / sqrt(1 - beta2 ** step); beta is 1 - share.

    The body is in double precision, as 1 - 0.999 ** 1 loses four digits in float32.
    Source: PyTorch Adam, the corrections of the bias of its moments.
    """

    name: ClassVar[str] = "AdamFactors"
    body: ClassVar[str] = """
        <domain: "ai.ipuc", opset_import: ["" : 18]>
        AdamFactors <rate, share1, share2> (step, scale) => (factors) {
            r = Constant <value_float : float = @rate> ()
            s1 = Constant <value_float : float = @share1> ()
            s2 = Constant <value_float : float = @share2> ()
            one = Constant <value = double[1] {1.0}> ()
            t = Cast <to = 11> (step)
            rate_d = Cast <to = 11> (r)
            d1 = Cast <to = 11> (s1)
            d2 = Cast <to = 11> (s2)
            scale_d = Cast <to = 11> (scale)
            beta1 = Sub (one, d1)
            beta2 = Sub (one, d2)
            left1 = Pow (beta1, t)
            left2 = Pow (beta2, t)
            gone1 = Sub (one, left1)
            gone2 = Sub (one, left2)
            unit = Div (one, scale_d)
            step_size = Div (rate_d, gone1)
            root = Sqrt (gone2)
            spread = Div (one, root)
            all = Concat <axis = 0> (unit, step_size, spread)
            factors = Cast <to = 1> (all)
        }
    """

    def infer(self, node: Node, types: Sequence[TensorType | None]) -> list[TensorType]:
        """Three numbers."""
        del node, types
        return [TensorType("float32", (3,))]

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """The first step, and a later one."""
        numbers = {"rate": 0.01, "share1": 0.1, "share2": 0.001}
        scale = np.asarray(8.0, np.float32)
        return tuple(
            Example((np.asarray(step, np.float32), scale), numbers) for step in (1.0, 1000.0)
        )

    def lower(self, ctx: Context, node: Node) -> None:
        """One vertex."""
        builder, (output,) = ctx.builder, node.outputs
        numbers = [float(node.attributes[name]) for name in ("rate", "share1", "share2")]
        made = builder.variable(output, "float32", (3,))
        with builder.compute_set(output) as compute_set:
            compute_set.workers = "one"
            compute_set.add(
                Vertex(*numbers),
                separable(0, [0]),
                step=builder.field(ctx.wide(node.inputs[0]), [[0]], ()),
                scale=builder.field(ctx.wide(node.inputs[1]), [[0]], ()),
                out=builder.field(made, [[0]], (3,)),
            )
        ctx.define(output, made, wide=True)
