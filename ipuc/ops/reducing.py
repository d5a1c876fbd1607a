"""What the operators that combine the elements of some axes have in common."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

from numpy.typing import NDArray

from ipuc.codelets.binary import BinaryOp
from ipuc.codelets.unary import UnaryOp
from ipuc.graph.ir import Node
from ipuc.ops.define import Op
from ipuc.ops.shaping import settings
from ipuc.ops.writer import GraphWriter
from ipuc.planner.context import Context
from ipuc.planner.elementwise import elementwise
from ipuc.planner.reduction import reduce
from ipuc.program.tensor import Tensor


@dataclass(frozen=True)
class Reduced:
    """A reduction in the forward graph, as its gradient needs it.

    Attributes:
        write: takes the gradient's nodes.
        x: the operand.
        result: of any shape.
        arrives: the gradient of the result, of its shape.
        axes: those that are combined, not negative.
    """

    write: GraphWriter
    x: str
    result: str
    arrives: str
    axes: Sequence[int]

    @cached_property
    def y(self) -> str:
        """The result; combined axes have extent 1."""
        return self._kept(self.result)

    @cached_property
    def upstream(self) -> str:
        """The gradient of the result; combined axes have extent 1."""
        return self._kept(self.arrives)

    def _kept(self, value: str) -> str:
        shape = enumerate(self.write.shape(self.x))
        return self.write.reshaped(value, tuple(1 if a in self.axes else n for a, n in shape))

    @property
    def count(self) -> int:
        """Elements that make one."""
        return math.prod(self.write.shape(self.x)[axis] for axis in self.axes)

    def spread(self, gradient: str) -> str:
        """Repeat a gradient of the result for every element that made it."""
        return self.write.expanded(gradient, self.write.shape(self.x))

    def nonzero(self, y: str) -> str:
        """Y with ones in place of zeros: something to divide by."""
        zero, one = (self.write.scalar(number, y) for number in (0, 1))
        return self.write.op("Where", self.write.op("Equal", y, zero), one, y)


class Reduction(Op):
    """An operator of the Reduce family.

    Axes are an attribute, or since operator set 13 (ReduceSum) or 18 (the others) an input. Without
    axes all are reduced, or with `noop_with_empty_axes` none.
    """

    shape_inputs: ClassVar[tuple[int, ...]] = (1,)

    def gradient(
        self, write: GraphWriter, node: Node, upstream: Sequence[str], wanted: Sequence[bool]
    ) -> Sequence[str]:
        """That of each element by the kind of reduction; none where there are no elements."""
        del wanted
        x, *others = node.inputs
        shape = write.shape(x)
        if not math.prod(shape):
            return [""] * len(node.inputs)
        axes = _axes(write.known, node, len(shape))
        made = Reduced(write, x, node.outputs[0], upstream[0], axes)
        return [self.slope(made), *("" for _ in others)]

    def lower(self, ctx: Context, node: Node) -> None:
        """Combine the axes, then drop them if `keepdims` says so."""
        (output,) = node.outputs
        x = ctx.tensor(node.inputs[0])
        axes = _axes(ctx.constant, node, len(x.shape))
        dtype = ctx.dtype(output, node.where())
        made = self.combine(ctx, x, axes, output, dtype)
        ctx.define(output, ctx.builder.reshape(made, ctx.type(output).shape, output))

    @abstractmethod
    def slope(self, made: Reduced) -> str:
        """Write the gradient of the operand."""

    @abstractmethod
    def combine(
        self, ctx: Context, x: Tensor, axes: Sequence[int], name: str, dtype: str
    ) -> Tensor:
        """Combine `axes` of x, which keep extent 1, into a tensor of type `dtype`."""


def _axes(known: Callable[[str], NDArray[Any] | None], node: Node, rank: int) -> list[int]:
    """Axes that are combined, not negative, in order."""
    given = settings(known, node, 1, "axes")
    if not given:
        given = [] if node.attributes.get("noop_with_empty_axes", 0) else list(range(rank))
    return sorted({axis % rank for axis in given})


def greatest_slope(made: Reduced) -> str:
    """The gradient of a greatest or least element; equal ones share it, as in torch.amax."""
    write = made.write
    mark = write.like(write.op("Equal", made.x, made.y), made.x)
    number = write.reduced(mark, made.axes)
    return write.mul(mark, write.op("Div", made.upstream, number))


def norm_slope(made: Reduced, power: float) -> str:
    """The gradient of a p-norm, sign(x) * (|x| / y) ** (p - 1); 0 where y is, as in torch."""
    write = made.write
    if power == 1:
        return write.mul(write.op("Sign", made.x), made.upstream)
    if power == 2:
        return write.mul(made.x, write.op("Div", made.upstream, made.nonzero(made.y)))
    share = write.op("Div", write.op("Abs", made.x), made.nonzero(made.y))
    slope = write.op("Pow", share, write.scalar(power - 1, made.x))
    return write.mul(write.mul(slope, write.op("Sign", made.x)), made.upstream)


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
