"""GatherGrad: the gradient of Gather, and of what else picks slices more than once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from ipuc.errors import ShapeError
from ipuc.graph.ir import Node
from ipuc.ops.binary import binary
from ipuc.ops.define import Example, Function
from ipuc.ops.writer import GraphWriter
from ipuc.planner.context import Context
from ipuc.planner.gathering import add_up, positions
from ipuc.planner.views import progressions, take
from ipuc.program.tensor import Tensor, concat, fill
from ipuc.types import Ints, TensorType

#: Known indices that make at most this many arithmetic progressions are views, added up.
_MAX_PROGRESSIONS = 16
#: ... if none is named more often than this.
_MAX_USES = 4


class GatherGrad(Function):
    """Add slices of the middle axis to zeros, each where its index says.

    dy: [before, n, after]; indices: [n], negative ones count from the end; dx: [before, extent,
    after]. Sums are float32, and rounded once where dy is in halves.

    Source: PopLibs popops DynamicSlice.cpp, multiUpdateAdd.
    """

    name: ClassVar[str] = "GatherGrad"
    body: ClassVar[str] = """
        <domain: "ai.ipuc", opset_import: ["" : 18]>
        GatherGrad <extent> (dy, indices) => (dx) {
            wide = Cast <to = 1> (dy)
            outer = Constant <value_ints = [0, 2]> ()
            column = Unsqueeze (indices, outer)
            shape = Shape (dy)
            places = Expand (column, shape)
            before = Shape <start = 0, end = 1> (dy)
            rows = Constant <value_ints : ints = @extent> ()
            after = Shape <start = 2> (dy)
            whole = Concat <axis = 0> (before, rows, after)
            none = ConstantOfShape (whole)
            total = ScatterElements <axis = 1, reduction = "add"> (none, places, wide)
            dx = CastLike (total, dy)
        }
    """

    def infer(self, node: Node, types: Sequence[TensorType | None]) -> list[TensorType]:
        """Extent `extent` on the middle axis."""
        upstream, indices = types
        assert upstream is not None
        assert indices is not None
        if len(upstream.shape) != 3 or indices.shape != upstream.shape[1:2]:
            raise ShapeError(f"slices of {upstream} are numbered by {indices}", where=node.where())
        before, _, after = upstream.shape
        return [TensorType(upstream.dtype, (before, int(node.attributes["extent"][0]), after))]

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """Slices that meet, from both ends; every slice of a mirrored axis."""
        rows, columns = TensorType("float32", (1, 6, 5)), TensorType("float32", (3, 7, 2))
        return (
            Example((rows, np.array([3, 0, 3, -1, 7, 3])), {"extent": [9]}),
            Example((columns, np.array([2, 1, 0, 1, 2, 3, 2])), {"extent": [4]}),
        )

    def lower(self, ctx: Context, node: Node) -> None:
        """Views of few known slices, added; else vertices that read the indices when they run."""
        upstream, (output,) = ctx.tensor(node.inputs[0]), node.outputs
        shape = ctx.type(output).shape
        known = ctx.constant(node.inputs[1])
        layers: list[Ints] | None = None
        if known is not None:
            layers = _layers(positions(known, shape[1], node.where()), shape[1])
        if layers is None:
            offsets = ctx.tensor(node.inputs[1])
            made = add_up(ctx, upstream, 1, offsets, shape[1], output)
        else:
            made = _views(ctx, upstream, layers, output)
        dtype = ctx.dtype(output, node.where())
        ctx.define(output, made if made.dtype == dtype else ctx.cast(made, dtype, output))


def add_slices(write: GraphWriter, upstream: str, axis: int, indices: str, extent: int) -> str:
    """Write the gradient of slices that were picked from an axis.

    Args:
        write: takes the nodes.
        upstream: gradient of the slices; the axes of the indices are in the place of `axis`.
        axis: from which they were picked, not negative.
        indices: of whole numbers, of any shape.
        extent: of the axis.
    """
    shape, known = write.shape(upstream), write.known(indices)
    rank = len(write.shape(indices))
    before, after = shape[:axis], shape[axis + rank :]
    count = math.prod(shape[axis : axis + rank])
    flat = (
        write.reshaped(indices, (count,))
        if known is None
        else write.constant(known.reshape(-1), "indices")
    )
    slices = write.reshaped(upstream, (math.prod(before), count, math.prod(after)))
    made = write.own("GatherGrad", slices, flat, extent=[extent])
    return write.reshaped(made, (*before, extent, *after))


def _layers(indices: Ints, extent: int) -> list[Ints] | None:
    """Which slice each row gets as its first, second, ... one; n where it gets no more.

    Returns:
        None if they are too many, or not regular enough, to be views.
    """
    count = len(indices)
    order = np.argsort(indices, kind="stable")
    rows = indices[order]
    uses = np.arange(count) - np.searchsorted(rows, rows)
    depth = int(uses.max(initial=0)) + 1
    if depth > _MAX_USES:
        return None
    layers = np.full((depth, extent), count, np.int64)
    layers[uses, rows] = order
    regular = sum(len(progressions(layer)) for layer in layers) <= _MAX_PROGRESSIONS
    return list(layers) if regular else None


def _views(ctx: Context, upstream: Tensor, layers: Sequence[Ints], name: str) -> Tensor:
    """The sum of one view for each layer, with zeros where that has no slice."""
    before, _, after = upstream.shape
    ended = concat([upstream, fill(0.0, (before, 1, after), upstream.dtype)], 1)
    made, *others = (take(ended, 1, layer) for layer in layers)
    for other in others:
        made = binary(ctx, "add", made, other, name)
    return made
