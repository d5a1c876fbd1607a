"""Gradients of poolings against torch's, ties and windows that hang over included."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ipuc.emulator.run import run
from ipuc.graph.ir import Graph
from ipuc.planner.context import Context
from ipuc.planner.pool_gradient import average_pool_gradient, max_pool_gradient
from ipuc.planner.window import Slide
from ipuc.program.builder import Builder
from ipuc.target import parse_target

torch = pytest.importorskip("torch", reason="make test-full installs torch")
pytestmark = pytest.mark.full

Array = NDArray[Any]


@st.composite
def poolings(draw: st.DrawFn) -> tuple[tuple[int, ...], dict[str, Any]]:
    """A shape, and arguments that torch takes: equal pads on both sides, at most half a kernel."""
    dims = draw(st.integers(1, 3))
    kernel = [draw(st.integers(1, 5)) for _ in range(dims)]
    stride = [draw(st.integers(1, 5)) for _ in range(dims)]
    padding = [draw(st.integers(0, k // 2)) for k in kernel]
    most = {1: 60, 2: 20, 3: 8}[dims]
    field = [draw(st.integers(k, max(k, most))) for k in kernel]
    shape = (draw(st.integers(1, 3)), draw(st.sampled_from([1, 4, 20])), *field)
    sizes = {"kernel_size": kernel, "stride": stride, "padding": padding}
    return shape, {**sizes, "ceil_mode": draw(st.booleans())}


def slides(
    shape: tuple[int, ...], out: tuple[int, ...], given: dict[str, Any]
) -> tuple[Slide, ...]:
    """The windows, as the planner has them."""
    dilation = given.get("dilation", [1] * len(shape[2:]))
    sizes = zip(
        shape[2:], out[2:], given["kernel_size"], given["stride"], dilation, given["padding"],
        strict=True,
    )  # fmt: skip
    return tuple(Slide(*numbers) for numbers in sizes)


def emulated(given: dict[str, Array], kind: str, windows: tuple[Slide, ...], ends: Any) -> Array:
    ctx = Context(Builder(parse_target("gc200,tiles=64")), Graph("", [], [], {}, {}, [], 22))
    tensors = {
        name: ctx.builder.input(name, array.dtype.name, array.shape)
        for name, array in given.items()
    }
    if kind == "max":
        dx = max_pool_gradient(ctx, tensors["x"], tensors["y"], tensors["dy"], windows, "dx")
    else:
        dx = average_pool_gradient(ctx, tensors["dy"], windows, "dx", ends=ends)
    ctx.builder.output("dx", dx)
    ctx.builder.map_rest()
    return run(ctx.builder.build(), given)["dx"]


@given(problem=poolings(), wide=st.booleans(), seed=st.integers(0, 2**31))
@settings(max_examples=150, deadline=None)
def test_max_pool(problem: tuple[tuple[int, ...], Any], wide: bool, seed: int) -> None:
    """Sums of whole numbers are exact; of equal elements torch takes the first, too."""
    shape, given = problem
    reach = zip(shape[2:], given["kernel_size"], strict=True)
    dilation = [2 if wide and 2 * k - 1 <= n else 1 for n, k in reach]
    draw = np.random.default_rng(seed)
    x = draw.integers(-3, 4, shape).astype(np.float32)
    leaf = torch.tensor(x, requires_grad=True)
    pool = getattr(torch.nn.functional, f"max_pool{len(shape) - 2}d")
    y = pool(leaf, dilation=dilation, **given)
    dy = draw.integers(-9, 10, tuple(y.shape)).astype(np.float32)
    y.backward(torch.tensor(dy))
    windows = slides(shape, tuple(y.shape), {**given, "dilation": dilation})
    made = emulated({"x": x, "y": y.detach().numpy(), "dy": dy}, "max", windows, None)
    np.testing.assert_array_equal(made, leaf.grad.numpy())


@given(problem=poolings(), counted=st.booleans(), seed=st.integers(0, 2**31))
@settings(max_examples=150, deadline=None)
def test_average_pool(problem: tuple[tuple[int, ...], Any], counted: bool, seed: int) -> None:
    """Both add at most 125 quotients in float32, in orders of their own: 125 * 2^-23 of 9."""
    shape, given = problem
    draw = np.random.default_rng(seed)
    leaf = torch.tensor(draw.normal(size=shape).astype(np.float32), requires_grad=True)
    pool = getattr(torch.nn.functional, f"avg_pool{len(shape) - 2}d")
    y = pool(leaf, count_include_pad=counted, **given)
    dy = draw.integers(-9, 10, tuple(y.shape)).astype(np.float32)
    y.backward(torch.tensor(dy))
    windows = slides(shape, tuple(y.shape), given)
    pads = zip(shape[2:], given["padding"], strict=True)
    ends = [n + pad if counted else None for n, pad in pads]
    made = emulated({"dy": dy}, "mean", windows, ends)
    np.testing.assert_allclose(made, leaf.grad.numpy(), rtol=0, atol=125 * 2.0**-23 * 9)
