"""What a plan says beside what its program does: cycles, tiles and balance."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ipuc.codelets.pool import Pool
from ipuc.graph.ir import Graph
from ipuc.planner.context import Context
from ipuc.planner.conv_problem import Conv
from ipuc.planner.convolution import convolve
from ipuc.planner.pooling import pool
from ipuc.planner.product import multiply
from ipuc.planner.window import Slide
from ipuc.program.builder import Builder
from ipuc.program.family import VertexFamily
from ipuc.program.program import Program
from ipuc.program.steps import Execute, walk
from ipuc.target.catalogue import parse_target

TARGETS = ("tiny", "gc200,tiles=64", "gc200,tiles=187", "gc2")
DTYPES = ("float32", "float16")


VERTICES = {
    "ConvPartialnx1",
    "ConvPartial1x1Out",
    "ConvPartialHorizontalMac",
    "ConvPartialVerticalMac",
    "ConvPartial1xNSLIC",
    "OuterProduct",
}


def context(target: str) -> Context:
    """Somewhere to lower to."""
    return Context(Builder(parse_target(target)), Graph("test", [], [], {}, {}, [], 22))


def hold(ctx: Context, kinds: set[str], useful: int) -> None:
    """Hold the plan record to the vertices that were made.

    Compute cycles are those of the slowest tile, to the cycle, of every superstep; so are the
    tiles in use and the work of the fullest beside the mean over all tiles.

    Args:
        ctx: after the lowering.
        kinds: the layer's own codelets; others add up what these make.
        useful: work of the layer; elements of a kernel that see only padding may be left out.
    """
    ctx.builder.map_rest()
    program = ctx.builder.build()
    chosen = ctx.plan["chosen"]
    own = np.zeros(program.target.tiles, np.int64)
    cycles = {True: 0, False: 0}
    for step in walk(program.main):
        if isinstance(step, Execute):
            families = step.compute_set.families
            mine = families[0].codelet.name in kinds
            time, work = by_tile(program, families)
            cycles[mine] += int(time.max())
            own += work * mine
    assert chosen["costs"]["compute"] == cycles[True]
    assert sum(chosen["costs"].get(name, 0) for name in ("reduce", "cast")) == cycles[False]
    assert chosen["tiles"] == (own > 0).sum()
    # With operands exchanged, what dilation leaves between the kernel's elements is met too.
    assert chosen.get("swap") or own.sum() <= useful
    # the record is rounded to four digits
    assert abs(chosen["balance"] - own.max() * len(own) / own.sum()) < 1e-4
    rows = [chosen, *ctx.plan["next"]]
    if "cheapest wide and even" in ctx.plan:
        rows.append(ctx.plan["cheapest wide and even"])
    order = "planned" if "planned" in chosen else "cycles"
    for row in rows:
        assert row["cycles"] == sum(row["costs"].values())
        assert row[order] >= chosen[order]
        assert row["tiles"] == math.prod(row["splits"].values()) <= ctx.target.tiles


def by_tile(program: Program, families: Sequence[VertexFamily]) -> tuple[Any, Any]:
    """Cycles and multiply-adds (outputs, for other vertices) of every tile: two int64[tiles]."""
    cycles = np.zeros(program.target.tiles, np.int64)
    work = np.zeros(program.target.tiles, np.int64)
    for family in families:
        windows = family.windows()
        sizes = {n: program.variables[a.variable].itemsize for n, a in family.fields.items()}
        each = family.codelet.cycles(program.target, windows, family.codelet.itemsize(sizes))
        depth = math.prod(windows["weights"][2:]) if "weights" in windows else 1
        tiles = family.tile.dense().ravel()
        np.add.at(cycles, tiles, each)
        np.add.at(work, tiles, math.prod(windows["out"]) * depth)
    return cycles, work


@st.composite
def slides(draw: st.DrawFn, most: int) -> Slide:
    """A sliding window that has an output."""
    kernel, stride, dilation = draw(
        st.tuples(st.integers(1, 5), st.integers(1, 3), st.integers(1, 2))
    )
    pad, after = draw(st.tuples(st.integers(0, kernel - 1), st.integers(0, kernel - 1)))
    reach = (kernel - 1) * dilation + 1
    field = draw(st.integers(max(1, reach - pad - after), most))
    return Slide(field, (field + pad + after - reach) // stride + 1, kernel, stride, dilation, pad)


@given(
    windows=st.lists(slides(30), min_size=1, max_size=2),
    batch=st.integers(1, 3),
    groups=st.sampled_from([1, 1, 1, 4]),
    channels=st.tuples(
        st.sampled_from([1, 3, 8, 20, 64, 90]), st.sampled_from([1, 4, 8, 20, 64, 90])
    ),
    dtype=st.sampled_from(DTYPES),
    target=st.sampled_from(TARGETS),
)
@settings(max_examples=80, deadline=None)
def test_convolutions(
    windows: list[Slide],
    batch: int,
    groups: int,
    channels: tuple[int, int],
    dtype: str,
    target: str,
) -> None:
    """Uneven splits, borders, groups and channels that fill no unit."""
    ins, outs = channels
    ctx = context(target)
    conv = Conv(batch, groups, outs, ins, tuple(windows))
    x = ctx.builder.input("x", dtype, (batch, groups, ins, *(s.field for s in windows)))
    weights = ctx.builder.input("w", dtype, (groups, outs, ins, *(s.kernel for s in windows)))
    convolve(ctx, conv, x, weights, "y")
    hold(ctx, VERTICES, conv.macs)


@given(
    extents=st.lists(st.sampled_from([1, 2, 3, 7, 20, 64, 97, 300]), min_size=3, max_size=4),
    dtype=st.sampled_from(DTYPES),
    target=st.sampled_from(TARGETS),
)
@settings(max_examples=80, deadline=None)
def test_products(extents: list[int], dtype: str, target: str) -> None:
    """Batches, rows, columns and depth that divide nothing."""
    *batch, m, n, k = extents
    assume(math.prod(extents) < 2_000_000)
    ctx = context(target)
    a = ctx.builder.input("a", dtype, (*batch, m, k))
    b = ctx.builder.input("b", dtype, (*batch, k, n))
    multiply(ctx, a, b, "y")
    hold(ctx, VERTICES, math.prod(extents))


@given(
    windows=st.lists(slides(40), min_size=1, max_size=2),
    lead=st.tuples(st.integers(1, 3), st.sampled_from([1, 3, 8, 33, 70])),
    kind=st.sampled_from(["max", "mean"]),
    dtype=st.sampled_from(DTYPES),
    target=st.sampled_from(TARGETS),
)
@settings(max_examples=80, deadline=None)
def test_poolings(
    windows: list[Slide], lead: tuple[int, int], kind: str, dtype: str, target: str
) -> None:
    """Row ends make some small parts dearer than large ones."""
    ctx = context(target)
    x = ctx.builder.input("x", dtype, (*lead, *(s.field for s in windows)))

    def make(field: Any) -> Pool:
        return Pool(
            kind,
            tuple(s.kernel for s in windows),
            tuple(s.stride for s in windows),
            tuple(s.dilation for s in windows),
            tuple(part.pads for part in field),
            ((0, 0),) * len(windows),
        )

    pool(ctx, {"x": x}, tuple(windows), make, dtype, "y")
    outputs = math.prod(lead) * math.prod(s.out for s in windows)
    hold(ctx, {"Pooling"}, outputs)
