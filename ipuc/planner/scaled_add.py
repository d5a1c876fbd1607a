"""A multiple of a tensor added to a variable where that lies: steps of an optimizer, sums."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ipuc.codelets.define import Codelet
from ipuc.codelets.scaled_add import ScaledAdd
from ipuc.errors import ProgramError, ShapeError
from ipuc.planner.context import Context
from ipuc.planner.in_their_place import is_whole, local_vertices, whereabouts
from ipuc.program.family import Access, separable
from ipuc.program.tensor import Piece, Tensor, coalesce
from ipuc.types import Ints


def scaled_add(
    ctx: Context,
    target: Tensor,
    other: Tensor,
    scale: float | Tensor,
    name: str,
    *,
    subtract: bool = False,
) -> None:
    """Add a multiple of a tensor to a variable, in place: target += scale * other.

    The vertices stand where the variable lies; the other operand comes there. Each sum is made in
    float32 and rounded once, so either operand may be of halves.

    Args:
        ctx: the lowering.
        target: the whole of a variable, axes in any order.
        other: of the same shape.
        scale: a number, or a tensor of one element that may change from run to run.
        name: of the compute set.
        subtract: subtract instead.

    Raises:
        ShapeError: the shapes differ, or the scale is not one element.
        ProgramError: the target is no whole variable.
    """
    if not isinstance(scale, Tensor):
        scale = ctx.scalar(scale, "float32", (1,))
    if scale.size != 1:
        raise ShapeError(f"a scale is one element, not {scale.shape}", where=name)
    one = ctx.builder.one_view(scale)
    kind = other.dtype if other.dtype != target.dtype else ""
    codelet = ScaledAdd(kind, subtract)
    fields = {"scale": Access(one.variable, separable(one.offset, [0], [0]), (), ())}
    update_in_place(ctx, target, other, codelet, ("a", "b"), name, fields)


def update_in_place(
    ctx: Context,
    target: Tensor,
    other: Tensor,
    codelet: Codelet,
    names: tuple[str, str],
    name: str,
    shared: dict[str, Access] | None = None,
) -> None:
    """Let a codelet change a variable where it lies, element by element.

    Another operand that lies in another order is copied into the variable's order first.

    Args:
        ctx: the lowering.
        target: the whole of a variable, axes in any order.
        other: of the same shape.
        codelet: changes its field `names[0]` by `names[1]`; their windows have one shape.
        names: of those fields.
        name: of the compute set.
        shared: further fields, which all vertices share, on a grid of one vertex with two axes.

    Raises:
        ShapeError: the shapes differ.
        ProgramError: the target is no whole variable.
    """
    builder = ctx.builder
    if target.shape != other.shape:
        raise ShapeError(f"{other.shape} cannot be added to {target.shape}", where=name)
    if not target.size:
        return
    if not is_whole(ctx, target):
        raise ProgramError(
            "only a whole variable can be changed in place",
            where=name,
            fix="copy what is to be changed into a variable of its own",
        )
    variable = builder.variables[builder.one_view(target).variable]
    grain = ctx.target.vector_width(variable.itemsize)
    mapping = whereabouts(ctx, target, grain)
    operand, offset = in_order(ctx, target, other, name)
    with builder.compute_set(name) as compute_set:
        compute_set.workers = "all" if ctx.granularity == "tile" else "one"
        for some in local_vertices(ctx, mapping, variable.size, grain):
            tiles = some.tiles()
            there = some.access(operand)
            there = replace(there, offset=replace(there.offset, base=there.offset.base + offset))
            reached = {key: _on(access, tiles.grid) for key, access in (shared or {}).items()}
            fields = {names[0]: some.access(variable.id), names[1]: there, **reached}
            compute_set.add(codelet, tiles, **fields)


def _on(access: Access, grid: tuple[int, ...]) -> Access:
    zeros: list[Ints] = [np.zeros(n, np.int64) for n in grid]
    return replace(access, offset=separable(access.offset.base, *zeros))


def in_order(ctx: Context, target: Tensor, other: Tensor, name: str) -> tuple[int, int]:
    """A variable and an offset from which a tensor's elements lie as those of the target do."""
    view, given = ctx.builder.one_view(target), other.view()
    if given is not None and given.variable != view.variable:
        axes = zip(view.axes, given.axes, strict=True)
        if all(coalesce(mine) == coalesce(theirs) for mine, theirs in axes):
            return given.variable, given.offset
    laid = ctx.builder.variable(f"{name} operand", other.dtype, (target.size,))
    source = replace(view, variable=ctx.builder.one_view(laid).variable)
    like = Tensor(target.shape, other.dtype, (Piece((0,) * len(target.shape), source),))
    ctx.builder.copy_into(like, other, f"{name} operand")
    return source.variable, 0
