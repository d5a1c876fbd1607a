"""Gradients of convolutions and matrix products, on tiles, against the definition in float64."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ipuc.emulator.run import Emulator
from ipuc.emulator.strict import StrictEmulator
from ipuc.graph.ir import Graph
from ipuc.planner.context import Context
from ipuc.planner.conv_problem import Conv
from ipuc.planner.convolution import convolve_data_gradient, convolve_weight_gradient
from ipuc.planner.window import Slide
from ipuc.program.builder import Builder
from ipuc.program.program import Program
from ipuc.target.catalogue import parse_target

Array = NDArray[Any]
#: Sums of at most a few thousand products of numbers of about 1, in float32.
TOLERANCE = 1e-4


@st.composite
def slides(draw: st.DrawFn) -> Slide:
    """A window with an output; inputs at the end may go unread."""
    kernel, stride = draw(st.integers(1, 4)), draw(st.integers(1, 3))
    dilation = draw(st.integers(1, 2))
    reach = (kernel - 1) * dilation + 1
    pad, after = draw(st.tuples(st.integers(0, kernel), st.integers(0, kernel)))
    field = draw(st.integers(max(1, reach - pad - after), 12))
    return Slide(field, (field + pad + after - reach) // stride + 1, kernel, stride, dilation, pad)


def convs() -> st.SearchStrategy[Conv]:
    few = st.sampled_from([1, 2, 3, 8, 17])
    return st.builds(
        Conv,
        st.integers(1, 3),
        st.sampled_from([1, 1, 2, 4]),
        few,
        few,
        st.lists(slides(), min_size=1, max_size=2).map(tuple),
    )


def by_definition(conv: Conv, x: Array, w: Array, g: Array) -> tuple[Array, Array]:
    """Both gradients: every product of the forward pass gives one to each.

    Args:
        conv: the forward convolution.
        x: [batch, groups, ins, *field].
        w: [groups, outs, ins, *kernel].
        g: [batch, groups, outs, *out].
    """
    dx, dw = np.zeros(x.shape), np.zeros(w.shape)
    outs = itertools.product(*(range(s.out) for s in conv.slides))
    for out in outs:
        for element in itertools.product(*(range(s.kernel) for s in conv.slides)):
            place = tuple(
                o * s.stride + k * s.dilation - s.pad
                for o, k, s in zip(out, element, conv.slides, strict=True)
            )
            if any(not 0 <= i < s.field for i, s in zip(place, conv.slides, strict=True)):
                continue
            there, weight = (slice(None),) * 3 + place, (slice(None),) * 3 + element
            here = g[(slice(None),) * 3 + out]
            dx[there] += np.einsum("bgo,goi->bgi", here, w[weight])
            dw[weight] += np.einsum("bgo,bgi->goi", here, x[there])
    return dx, dw


def gradients(
    conv: Conv, target: str, granularity: Any = "tile", dtype: str = "float32"
) -> Program:
    """Both gradients of a convolution, as a program."""
    ctx = Context(Builder(parse_target(target)), Graph("test", [], [], {}, {}, [], 22), granularity)
    field, kernel, out = zip(*((s.field, s.kernel, s.out) for s in conv.slides), strict=True)
    x = ctx.builder.input("x", dtype, (conv.batch, conv.groups, conv.ins, *field))
    w = ctx.builder.input("w", dtype, (conv.groups, conv.outs, conv.ins, *kernel))
    g = ctx.builder.input("g", dtype, (conv.batch, conv.groups, conv.outs, *out))
    ctx.builder.output("dx", convolve_data_gradient(ctx, conv, g, w, "dx"))
    ctx.builder.output("dw", convolve_weight_gradient(ctx, conv, x, g, "dw"))
    ctx.builder.map_rest()
    return ctx.builder.build()


def operands(conv: Conv, seed: int) -> dict[str, Array]:
    rng = np.random.default_rng(seed)
    field, kernel, out = zip(*((s.field, s.kernel, s.out) for s in conv.slides), strict=True)
    shapes = {
        "x": (conv.batch, conv.groups, conv.ins, *field),
        "w": (conv.groups, conv.outs, conv.ins, *kernel),
        "g": (conv.batch, conv.groups, conv.outs, *out),
    }
    return {k: rng.uniform(-1, 1, shape).astype(np.float32) for k, shape in shapes.items()}


@settings(max_examples=60, deadline=None)
@given(
    conv=convs(),
    seed=st.integers(0, 9),
    granularity=st.sampled_from(["tile", "tile", "worker", "fine"]),
    target=st.sampled_from(["tiny", "gc200,tiles=64"]),
)
def test_gradients(conv: Conv, seed: int, granularity: str, target: str) -> None:
    given_arrays = operands(conv, seed)
    made = Emulator(gradients(conv, target, granularity)).run(given_arrays)
    dx, dw = by_definition(conv, **given_arrays)
    np.testing.assert_allclose(made["dx"], dx, rtol=TOLERANCE, atol=TOLERANCE)
    np.testing.assert_allclose(made["dw"], dw, rtol=TOLERANCE, atol=TOLERANCE)


CASES = {
    "strided": Conv(2, 1, 8, 6, (Slide(9, 5, 3, 2, 1, 1),) * 2),
    "grouped": Conv(2, 3, 4, 2, (Slide(8, 6, 3),) * 2),
    "pointwise": Conv(3, 1, 16, 24, (Slide(5, 5, 1),) * 2),
    "product": Conv(6, 1, 16, 24, (Slide(1, 1, 1),) * 2),
}


@pytest.mark.parametrize("name", CASES)
def test_strict_is_fast(name: str) -> None:
    """With tiles that share nothing but what the exchange moves."""
    conv = CASES[name]
    program, arrays = gradients(conv, "tiny"), operands(conv, 3)
    fast, strict = Emulator(program).run(arrays), StrictEmulator(program).run(arrays)
    dx, dw = by_definition(conv, **arrays)
    for result in (fast, strict):
        np.testing.assert_allclose(result["dx"], dx, rtol=TOLERANCE, atol=TOLERANCE)
        np.testing.assert_allclose(result["dw"], dw, rtol=TOLERANCE, atol=TOLERANCE)


def test_a_strided_gradient_multiplies_no_zeros() -> None:
    """The work of the data gradient is that of the forward pass, whatever the stride."""
    conv = Conv(1, 1, 32, 32, (Slide(28, 14, 3, 2, 1, 1),) * 2)
    program = gradients(conv, "gc200,tiles=64")
    wide = gradients(Conv(1, 1, 32, 32, (Slide(14, 14, 3, 1, 1, 1),) * 2), "gc200,tiles=64")

    def cycles(one: Program) -> int:
        codelets = (f for f in one.families() if "weights" in f.fields)
        return sum(f.count * int(f.codelet.cycles(one.target, f.windows(), 4)) for f in codelets)

    assert cycles(program) < 2 * cycles(wide)
