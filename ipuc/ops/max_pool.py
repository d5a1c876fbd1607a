"""MaxPool."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from ipuc.codelets.pool_indices import MaxPoolIndices
from ipuc.graph.ir import Node
from ipuc.ops.convolving import group_wanted
from ipuc.ops.pooling import Pooling
from ipuc.ops.windowed import written_out
from ipuc.ops.writer import GraphWriter
from ipuc.planner.context import Context
from ipuc.planner.pool_blocks import Part
from ipuc.planner.pooling import pool
from ipuc.planner.worker import max_pool


class MaxPool(Pooling):
    """The largest element of each window, and where it lies if asked. Source: ONNX MaxPool-12."""

    name: ClassVar[str] = "MaxPool"
    kind: ClassVar[str] = "max"

    def gradient(
        self, write: GraphWriter, node: Node, upstream: Sequence[str], wanted: Sequence[bool]
    ) -> Sequence[str]:
        """Each window gives its own to its first largest element, as in PyTorch."""
        del wanted
        (x,), dy = node.inputs, upstream[0]
        slides = self.windows(node, write.shape(x), write.shape(dy))
        kernel = [s.kernel for s in slides]
        attributes = {"kernel_shape": kernel, **written_out(slides)}
        return [write.own("MaxPoolGrad", x, node.outputs[0], dy, **attributes)]

    def lower(self, ctx: Context, node: Node) -> None:
        """The pooling; indices are a second compute set, which reads a table of positions."""
        if self._as_in_2017(ctx, node):
            return
        super().lower(ctx, node)
        if len(node.outputs) < 2 or not node.outputs[1]:
            return
        x, output = ctx.tensor(node.inputs[0]), node.outputs[1]
        slides = self.slides(ctx, node)

        def make(field: Sequence[Part]) -> MaxPoolIndices:
            return MaxPoolIndices(
                tuple(s.kernel for s in slides),
                tuple(s.stride for s in slides),
                tuple(s.dilation for s in slides),
                tuple(f.pads for f in field),
            )

        positions = np.arange(x.size, dtype=np.int32).reshape(x.shape)
        if node.attributes.get("storage_order", 0):  # column-major within a channel
            planes = positions.reshape(*x.shape[:2], *reversed(x.shape[2:]))
            positions = planes.transpose(0, 1, *range(planes.ndim - 1, 1, -1))
        table = ctx.builder.constant(f"{output} positions", positions)
        operands = {"x": x, "positions": table}
        ctx.define(output, pool(ctx, operands, slides, make, "int32", output))

    def _as_in_2017(self, ctx: Context, node: Node) -> bool:
        """Lower by the rules of 2017 if they reach the node; say whether they do.

        A gradient that reads the result finds the places of the largest elements beside it.
        """
        slides, (output, *indices) = self.slides(ctx, node), node.outputs
        x = ctx.tensor(node.inputs[0])
        asked = ctx.granularity == "worker" and not any(indices) and x.size
        if not asked or not max_pool.reached(slides, x.dtype):
            return False
        readers = (other for other in ctx.graph.nodes if other.op == "MaxPoolGrad")
        places = any(other.inputs[1] == output for other in readers)
        group = group_wanted(ctx, output)
        made, kept = max_pool.max_pool(ctx, x, slides, group, output, places=places)
        if kept is not None:
            ctx.plans["places", output] = ctx.builder.ipu, kept
        ctx.define(output, made)
        return True
