"""Activations in groups of channels. Oracle: NumPy's transpose and reshape."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ipuc.emulator.run import run
from ipuc.graph.ir import Graph
from ipuc.planner.context import Context
from ipuc.planner.worker.layout import device_order, group_of, grouped, regrouped
from ipuc.program.builder import Builder
from ipuc.program.tensor import Tensor, axis_offsets
from ipuc.target import parse_target
from ipuc.types import Ints, Shape


def _context(target: str = "tiny") -> Context:
    graph = Graph("layouts", [], [], {}, {}, [], 22)
    return Context(Builder(parse_target(target)), graph, "worker")


def places(tensor: Tensor) -> Ints:
    """Element of the variable at every position of a view."""
    view = tensor.view()
    assert view is not None
    total = np.full((1,) * len(tensor.shape), view.offset)
    for axis, extent in enumerate(tensor.shape):
        shape = [1] * len(tensor.shape)
        shape[axis] = extent
        total = total + axis_offsets(view.axes[axis], np.arange(extent)).reshape(shape)
    return np.broadcast_to(total, tensor.shape)


@st.composite
def _layouts(draw: st.DrawFn) -> tuple[Shape, int]:
    group = draw(st.sampled_from([1, 2, 4, 8, 16]))
    outer, batch = draw(st.integers(1, 3)), draw(st.integers(1, 2))
    field = draw(st.lists(st.integers(1, 4), min_size=0, max_size=3))
    return (batch, outer * group, *field), group


@given(_layouts())
def test_the_group_is_innermost(drawn: tuple[Shape, int]) -> None:
    """The view finds element [n, c, ...] where [N][C/g][...][g] has it."""
    shape, group = drawn
    batch, channels, *field = shape
    made = grouped(_context(), "x", "float32", shape, group)
    lies = np.arange(made.size).reshape(batch, channels // group, *field, group)
    wanted = np.moveaxis(lies, -1, 2).reshape(shape)
    assert (places(made) == wanted).all()
    found = group_of(made)
    assert found is not None
    if {n for n in field if n > 1}:
        assert found == group  # else every group is one and the same layout
    flat = device_order(made)
    assert flat is not None
    assert (places(flat) == np.arange(made.size)).all()


def test_units_are_spread_evenly() -> None:
    """ceil(27 groups / 4 tiles) = 7 to a tile, the last gets what is left."""
    ctx = _context()
    made = grouped(ctx, "x", "float16", (1, 24, 3, 3), 8)
    mapping = ctx.builder.placed(made)
    assert mapping is not None
    assert mapping.lengths(made.size).tolist() == [7 * 8, 7 * 8, 7 * 8, 6 * 8]
    assert mapping.tiles.tolist() == [0, 1, 2, 3]


def test_a_flattened_view_is_free() -> None:
    """[N, C, H, W] to [N, C * H * W] and back are views: a fully connected layer reads them."""
    made = grouped(_context(), "x", "float32", (2, 16, 3, 5), 8)
    flat = made.reshape((2, 240))
    assert flat is not None
    assert (places(flat) == places(made).reshape(2, 240)).all()


def test_regrouping_copies_only_where_it_must() -> None:
    """The same group is the same tensor; another is a copy that holds the same values."""
    ctx = _context()
    x = ctx.builder.input("x", "float32", (1, 32, 2, 3))
    eight = regrouped(ctx, x, 8, "eight")
    assert regrouped(ctx, eight, 8, "again") is eight
    four = regrouped(ctx, eight, 4, "four")
    assert group_of(four) == 4
    ctx.builder.output("y", four)
    ctx.builder.map_rest()
    program = ctx.builder.build()
    values = np.arange(192, dtype=np.float32).reshape(1, 32, 2, 3)
    assert (run(program, {"x": values})["y"] == values).all()


def test_views_without_a_layout_say_so() -> None:
    """A slice of rows has holes; a transpose is no group of channels."""
    ctx = _context()
    x = ctx.builder.variable("x", "float32", (2, 8, 4, 4))
    assert group_of(x) == 1
    assert device_order(x.slice(2, 0, 2)) is None
    assert group_of(x.transpose((2, 3, 0, 1))) is None
    assert device_order(x.transpose((2, 3, 0, 1))) is not None
