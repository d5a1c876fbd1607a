"""One step of an optimizer, which changes a weight and its state where the weight lies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ipuc.codelets.define import Codelet
from ipuc.graph.ir import Node
from ipuc.planner.context import Context
from ipuc.planner.in_their_place import is_whole, local_vertices, whereabouts
from ipuc.planner.scaled_add import in_order
from ipuc.planner.state import last_reader
from ipuc.program.family import Access, separable
from ipuc.program.tensor import Piece, Tensor, View
from ipuc.program.variables import TileMapping
from ipuc.types import Ints


def slot(ctx: Context, node: Node, old: str, new: str, weight: Tensor) -> Tensor:
    """Give a variable of float32 for a state of the optimizer that lies as its weight does.

    It is the state itself if `new` is what that becomes and nobody else reads it; else a copy.

    Args:
        ctx: the lowering.
        node: the update.
        old: the value that it changes.
        new: its result.
        weight: the whole of a variable, axes in any order.
    """
    builder, state = ctx.builder, ctx.graph.state.get(old)
    view = builder.one_view(weight)
    mine = state is not None and state.output == new and last_reader(ctx, old) is node
    if state is not None and mine and old not in builder.values:
        laid = _filled(ctx, old, state.initial.astype(np.float32), weight)
        builder.values[old] = laid
    else:
        flat = builder.variable(new, "float32", (weight.size,))
        laid = _like(weight, view, builder.one_view(flat).variable)
        held = ctx.lies(old)
        if held.dtype != "float32":
            held = ctx.cast(held, "float32", f"{old} as float32")
        builder.copy_into(laid, held, f"{new} begun")
    there = whereabouts(ctx, weight, _grain(ctx, weight))
    variable = builder.variables[builder.one_view(laid).variable]
    variable.mapping = TileMapping(there.starts, there.tiles + builder.first_tile)
    return laid


def _filled(ctx: Context, name: str, array: NDArray[Any], weight: Tensor) -> Tensor:
    """A variable with contents, laid out as a weight is."""
    builder = ctx.builder
    view = builder.one_view(weight)
    order = _places(view).reshape(-1)
    flat = np.empty(weight.size, np.float32)
    flat[order] = array.reshape(-1)
    made = builder.constant(name, flat)
    return _like(weight, view, builder.one_view(made).variable)


def _like(weight: Tensor, view: View, variable: int) -> Tensor:
    source = replace(view, variable=variable)
    return Tensor(weight.shape, "float32", (Piece((0,) * len(weight.shape), source),))


def _places(view: View) -> Ints:
    """Where each element of a view lies in its variable."""
    total: Ints = np.full((), view.offset, np.int64)
    for axis in view.axes:
        along = np.zeros(1, np.int64)
        for extent, stride in axis:
            along = (along[:, None] + stride * np.arange(extent, dtype=np.int64)).reshape(-1)
        total = total[..., None] + along
    return total


def _grain(ctx: Context, weight: Tensor) -> int:
    variable = ctx.builder.variables[ctx.builder.one_view(weight).variable]
    return ctx.target.vector_width(variable.itemsize)


def step_in_place(
    ctx: Context,
    codelet: Codelet,
    changed: Mapping[str, Tensor],
    gradient: Tensor,
    shared: Mapping[str, Tensor],
    name: str,
) -> None:
    """Let a codelet change a weight and its states, element by element, where the weight lies.

    Args:
        ctx: the lowering.
        codelet: reads the gradient in its field "g".
        changed: by field, the weight first; the others from `slot`.
        gradient: of the weight's shape.
        shared: by field, what all vertices read: single elements or short vectors.
        name: of the compute set.
    """
    builder = ctx.builder
    weight = next(iter(changed.values()))
    if not weight.size:
        return
    if not is_whole(ctx, weight):
        raise AssertionError(f"{name}: only a whole variable can be changed in place")
    grain = _grain(ctx, weight)
    mapping = whereabouts(ctx, weight, grain)
    operand, offset = in_order(ctx, weight, gradient, name)
    views = {field: builder.one_view(tensor) for field, tensor in shared.items()}
    with builder.compute_set(name) as compute_set:
        compute_set.workers = "all" if ctx.granularity == "tile" else "one"
        for some in local_vertices(ctx, mapping, weight.size, grain):
            tiles = some.tiles()
            there = some.access(operand)
            there = replace(there, offset=replace(there.offset, base=there.offset.base + offset))
            fields = {
                field: some.access(builder.one_view(tensor).variable)
                for field, tensor in changed.items()
            }
            for field, view in views.items():
                shape = shared[field].shape
                zeros: list[Ints] = [np.zeros(n, np.int64) for n in tiles.grid]
                begin = separable(view.offset, *zeros)
                fields[field] = Access(view.variable, begin, shape, (1,) * len(shape))
            compute_set.add(codelet, tiles, g=there, **fields)
