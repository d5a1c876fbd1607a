"""Bias gradients and updates in two reductions, against sums in float64."""

from __future__ import annotations

import math

import numpy as np
import pytest
import updates
from hypothesis import given, settings
from hypothesis import strategies as st

from ipuc.emulator.run import Emulator
from ipuc.emulator.strict import StrictEmulator
from ipuc.planner.worker.conv_bias import bias_gradient, bias_update
from ipuc.planner.worker.layout import grouped

#: Sums of at most a few hundred numbers of about 1, in float32.
TOLERANCE = 1e-6


@settings(max_examples=40, deadline=None)
@given(
    batch=st.integers(1, 3),
    channels=st.sampled_from([1, 4, 7, 16, 24, 64]),
    field=st.lists(st.integers(1, 6), max_size=3),
    group=st.sampled_from([1, 4, 8, 16]),
    target=st.sampled_from(["tiny", "gc200,tiles=64"]),
    way=st.sampled_from(["gradient", "constant", "data"]),
)
def test_bias(
    batch: int, channels: int, field: list[int], group: int, target: str, way: str
) -> None:
    ctx = updates.context(target)
    shape = (batch, channels, *field)
    dy = ctx.builder.input("dy", "float32", shape)
    bias = ctx.builder.input("b", "float32", (channels,))
    step = ctx.builder.input("rate", "float32", (1,))
    if group > 1 and channels % group == 0:
        laid = grouped(ctx, "dy grouped", "float32", shape, group)
        ctx.builder.copy_into(laid, dy)
        dy = laid
    if way == "gradient":
        bias = bias_gradient(ctx, dy, "db")
    else:
        bias_update(ctx, dy, bias, 0.25 if way == "constant" else step, "update")
    ctx.builder.output("out", bias)
    ctx.builder.map_rest()
    program = ctx.builder.build()
    random = np.random.default_rng(channels)
    arrays = {
        "dy": random.normal(size=shape).astype(np.float32),
        "b": random.normal(size=channels).astype(np.float32),
        "rate": np.full(1, 0.25, np.float32),
    }
    sums = arrays["dy"].astype(np.float64).sum(axis=(0, *range(2, len(shape))))
    exact = sums if way == "gradient" else arrays["b"] - 0.25 * sums
    scale = float(np.abs(arrays["dy"]).sum()) / channels
    for emulator in (Emulator(program), StrictEmulator(program)):
        error = np.abs(emulator.run(arrays)["out"] - exact).max()
        assert error < TOLERANCE * max(scale, 1)


@pytest.mark.parametrize(("channels", "group", "size"), [(64, 16, 55), (256, 16, 13)])
def test_counts(channels: int, group: int, size: int) -> None:
    """Reduce 1: a vertex per tile and group there; reduce 2: C * floor(7296 / C); then C."""
    ctx = updates.context("gc2")
    dy = grouped(ctx, "dy", "float16", (1, channels, size, size), group)
    bias_update(ctx, dy, ctx.builder.variable("b", "float16", (channels,)), 0.5, "update")
    ctx.builder.map_rest()
    program = ctx.builder.build()
    counts = {family.codelet.name: 0 for family in program.families()}
    for family in program.families():
        counts[family.codelet.name] += family.count
    # tiles take whole units in order: cut at every tile and at every group of channels
    units = channels // group * size * size
    each = math.ceil(units / 1216)
    cuts = {*range(0, units, each), *range(0, units, size * size)}
    assert counts == {
        "ConvBiasReduce1": len(cuts),
        "ConvBiasReduce2": channels * (7296 // channels),
        "ConvBiasUpdate": channels,
    }
