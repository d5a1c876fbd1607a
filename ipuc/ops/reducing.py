"""What the operators that combine the elements of some axes have in common."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from ipuc.codelets.binary import BinaryOp
from ipuc.codelets.unary import UnaryOp
from ipuc.graph.ir import Node
from ipuc.ops.define import Op
from ipuc.ops.shaping import integers
from ipuc.planner.context import Context
from ipuc.planner.elementwise import elementwise
from ipuc.planner.reduction import reduce
from ipuc.program.tensor import Tensor


class Reduction(Op):
    """An operator of the Reduce family.

    Axes are an attribute, or since operator set 13 (ReduceSum) or 18 (the others) an input. Without
    axes all are reduced, or with `noop_with_empty_axes` none.
    """

    shape_inputs: ClassVar[tuple[int, ...]] = (1,)

    def lower(self, ctx: Context, node: Node) -> None:
        """Combine the axes, then drop them if `keepdims` says so."""
        (output,) = node.outputs
        x = ctx.tensor(node.inputs[0])
        rank = len(x.shape)
        given = integers(ctx, node, 1, "axes")
        if not given:
            given = [] if node.attributes.get("noop_with_empty_axes", 0) else list(range(rank))
        axes = sorted({axis % rank for axis in given})
        dtype = ctx.dtype(output, node.where())
        made = self.combine(ctx, x, axes, output, dtype)
        ctx.define(output, ctx.builder.reshape(made, ctx.type(output).shape, output))

    @abstractmethod
    def combine(
        self, ctx: Context, x: Tensor, axes: Sequence[int], name: str, dtype: str
    ) -> Tensor:
        """Combine `axes` of x, which keep extent 1, into a tensor of type `dtype`."""


def wide(dtype: str) -> str:
    """The type in which a result is kept until the last rounding: float32 for halves."""
    return "float32" if dtype == "float16" else dtype


def unary(
    ctx: Context, op: str, x: Tensor, name: str, dtype: str, numbers: tuple[float, ...] = ()
) -> Tensor:
    """Apply a UnaryOp."""
    return elementwise(ctx, UnaryOp(op, numbers), {"x": x}, dtype, name)


def plain(ctx: Context, op: str, x: Tensor, axes: Sequence[int], name: str) -> Tensor:
    """Combine by a sum, product, least or greatest element; a view where nothing is combined."""
    if math.prod(x.shape[a] for a in axes) == 1:
        return x
    return reduce(ctx, op, x, axes, name)


def mean(ctx: Context, x: Tensor, axes: Sequence[int], name: str, dtype: str) -> Tensor:
    """Sum, then divide by the number of elements; whole numbers round towards zero."""
    count = math.prod(x.shape[a] for a in axes)
    if count == 1:
        return x
    total = reduce(ctx, "sum", x, axes, f"{name} sum", dtype=wide(x.dtype))
    if x.dtype.startswith("float"):
        return unary(ctx, "scale", total, name, dtype, (1 / count if count else math.inf,))
    divisor = ctx.scalar(count, dtype, (1,) * len(x.shape))
    return elementwise(ctx, BinaryOp("div"), {"a": total, "b": divisor}, dtype, name)


def norm(
    ctx: Context, x: Tensor, axes: Sequence[int], power: float, name: str, dtype: str
) -> Tensor:
    """The p-th root of the sum of |x| to the p."""
    inner = wide(x.dtype)
    if power == 2:
        total = reduce(ctx, "sum", x, axes, f"{name} squares", square=True, dtype=inner)
        return unary(ctx, "sqrt", total, name, dtype)
    size = unary(ctx, "abs", x, f"{name} abs", x.dtype)
    if power == 1:
        return reduce(ctx, "sum", size, axes, name, dtype=dtype)
    exponent = ctx.scalar(power, "float32", (1,) * len(x.shape))
    powers = elementwise(ctx, BinaryOp("pow"), {"a": size, "b": exponent}, inner, f"{name} powers")
    total = reduce(ctx, "sum", powers, axes, f"{name} sum")
    root = ctx.scalar(1 / power, "float32", (1,) * len(x.shape))
    return elementwise(ctx, BinaryOp("pow"), {"a": total, "b": root}, dtype, name)
