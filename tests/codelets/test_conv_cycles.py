"""A convolution vertex is charged what the planner's estimate for the same block says.

Consistency only: the formulas have tests of their own. Blocks are described here a second time.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest

from ipuc.codelets.conv_horizontal_mac import ConvPartialHorizontalMac
from ipuc.codelets.conv_one_by_one import ConvPartial1x1Out
from ipuc.codelets.conv_outer_product import OuterProduct
from ipuc.codelets.conv_partial import ConvPartial
from ipuc.codelets.conv_slic import ConvPartial1xNSLIC
from ipuc.codelets.conv_vertex import ConvVertex
from ipuc.codelets.conv_vertical_mac import ConvPartialVerticalMac
from ipuc.codelets.cycles.amp import Block
from ipuc.codelets.matmul_partial import METHODS, MatMulPartial
from ipuc.errors import ProgramError
from ipuc.planner.poplin.methods import Method, compute_cycles, methods
from ipuc.planner.poplin.params import ConvParams, convolution, product
from ipuc.target import CATALOGUE, Target

KINDS: dict[str, type[ConvVertex]] = {
    "AMP": ConvPartial,
    "HMAC": ConvPartialHorizontalMac,
    "VMAC": ConvPartialVerticalMac,
    "SLIC": ConvPartial1xNSLIC,
}


def layer(
    channels: tuple[int, int], stride: int, spread: int, kernel: int, size: int
) -> ConvParams:
    params = convolution(
        (40, 40), (kernel, kernel), channels=channels, stride=(stride, stride), itemsize=size
    )
    dims = tuple(
        dataclasses.replace(dim, data=dataclasses.replace(dim.data, dilation=spread))
        for dim in params.dims
    )
    return dataclasses.replace(params, dims=dims)


def vertex(
    method: Method, params: ConvParams, groups: tuple[int, int], *, long_row: bool
) -> ConvVertex:
    """The codelet of a method, with its template parameters."""
    kind, more = KINDS[method.name], dict[str, Any]()
    if method.name in ("SLIC", "VMAC"):
        more["bundle"] = method.bundle
    if method.name == "HMAC":
        more["single"] = long_row and params.itemsize == 2 and method.partial == 4
    if method.name == "AMP" and long_row and groups[0] == 32 // params.itemsize:
        kind = ConvPartial1x1Out
    return kind(
        tuple(dim.result.stride for dim in params.dims),
        (1, 1),
        ((0, 0), (0, 0)),
        "float32" if method.partial == 4 else "float16",
        tuple(dim.data.dilation for dim in params.dims),
        in_group=groups[0],
        out_group=groups[1],
        **more,
    )


@pytest.mark.parametrize("target", [CATALOGUE["gc2"], CATALOGUE["gc200"]], ids=lambda t: t.name)
@pytest.mark.parametrize("size", [2, 4])
@pytest.mark.parametrize("partial", [2, 4])
@pytest.mark.parametrize(
    ("channels", "stride", "spread", "kernel"),
    [
        ((40, 24), 1, 1, 3),
        ((40, 24), 2, 1, 5),
        ((7, 1), 2, 1, 3),
        ((1, 1), 1, 1, 4),
        ((20, 9), 1, 3, 3),
        ((1, 1), 4, 6, 2),
        ((64, 20), 1, 1, 1),
        ((9, 20), 1, 1, 1),
    ],
)
def test_cycles_are_the_planned_ones(
    target: Target,
    size: int,
    partial: int,
    channels: tuple[int, int],
    stride: int,
    spread: int,
    kernel: int,
) -> None:
    """Every method, group size and some blocks."""
    params = layer(channels, stride, spread, kernel, size)
    random = np.random.default_rng(1)
    offered = {m.name: m for m in methods(target, params, dense=False, partial=partial)}
    offered.pop("OUTER_PRODUCT", None)
    assert {"AMP", "HMAC"} <= offered.keys()
    step = spread // math.gcd(spread, stride)
    for method in offered.values():
        for in_group in method.in_groups:
            for out_group in method.out_groups:
                batch, bundles, ig, og, o0, o1 = (int(n) for n in random.integers(1, 5, 6))
                o0, o1, long_row = o0 * 3, o1 * 5, kernel == 1
                if long_row:
                    batch, o0 = 1, 1
                if method.single_grain or method.name == "VMAC":
                    ig = og = 1
                block = Block(
                    rows=batch * -(-o0 // step),
                    width=-(-o1 // step),
                    outputs=batch * o0 * o1,
                    groups=bundles,
                    in_groups=ig,
                    in_group=in_group,
                    out_groups=og,
                    out_group=out_group,
                    kernel=(kernel, kernel),
                )
                want = compute_cycles(target, method, params, block, long_row=long_row)
                groups = bundles * method.bundle
                # A last group of channels, or bundle of groups, that is not full costs as much.
                ins, outs = max(ig * in_group - 1, 1), max(og * out_group - 1, 1)
                ins = ins if -(-ins // in_group) == ig else ig * in_group
                outs = outs if -(-outs // out_group) == og else og * out_group
                windows = {
                    "x": (batch, groups, ins, 9, 9),
                    "weights": (groups, outs, ins, kernel, kernel),
                    "out": (batch, groups, outs, o0, o1),
                }
                codelet = vertex(method, params, (in_group, out_group), long_row=long_row)
                assert codelet.cycles(target, windows, size) == want
                fewer = dict(windows, weights=(groups - method.bundle + 1, *windows["weights"][1:]))
                fewer["out"] = (batch, groups - method.bundle + 1, *windows["out"][2:])
                assert codelet.cycles(target, fewer, size) == want


def test_a_row_is_a_field_of_one_row() -> None:
    """Poplin sees two field dimensions at least, so a kernel of one dimension is one row."""
    target = CATALOGUE["gc2"]
    flat = ConvPartial((1,), (1,), ((0, 0),), in_group=4)
    square = ConvPartial((1, 1), (1, 1), ((0, 0),) * 2, in_group=4)
    windows = {"x": (1, 1, 4, 43), "weights": (1, 8, 4, 4), "out": (1, 1, 8, 40)}
    padded = {name: (*w[:3], 1, *w[3:]) for name, w in windows.items()}
    assert flat.cycles(target, windows, 2) == square.cycles(target, padded, 2)
    turned = {name: (*w, 1) for name, w in windows.items()}
    assert square.cycles(target, turned, 2) != square.cycles(target, padded, 2)


def test_edges() -> None:
    """One for each vector that PopLibs connects, counted by hand for 2 groups."""
    plain = ((1, 1), (1, 1), ((0, 0),) * 2)
    windows = {"x": (1, 2, 40, 5, 5), "weights": (2, 24, 40, 3, 3), "out": (1, 2, 24, 3, 3)}
    row = {"x": (1, 2, 1, 7), "weights": (2, 6, 1, 1), "out": (1, 2, 6, 7)}
    assert OuterProduct((1,), (1,), ((0, 0),), out_group=4).edges(row) == 2 * (2 + 2)
    # 3 groups of inputs, 3 of outputs: 3 + 9 + 3.
    assert ConvPartial(*plain, in_group=16, out_group=8).edges(windows) == 2 * 15
    assert ConvPartial1x1Out(*plain, in_group=16, out_group=8).edges(windows) == 2 * 15
    assert ConvPartialHorizontalMac(*plain, in_group=20, out_group=2).edges(windows) == 2 * 38
    lanes = {"x": (1, 6, 1, 5, 5), "weights": (6, 1, 1, 3, 6), "out": (1, 6, 1, 3, 3)}
    # Two bundles of 4 groups; and the sums that workers keep.
    assert ConvPartialVerticalMac(*plain).edges(lanes) == 2 * 3 + 1
    # Two bundles; a kernel of 3 rows by 6 is 6 pieces; and a buffer.
    slic = ConvPartial1xNSLIC(*plain, in_group=1, out_group=1, bundle=4)
    assert slic.edges(lanes) == 2 * (2 + 6) + 1


def test_spread_data_costs_no_products_with_zeros() -> None:
    """Each of 4 x 4 inputs meets 3 x 3 kernel elements; borders count as in a dense block."""
    windows = {"x": (1, 1, 2, 4, 4), "weights": (1, 5, 2, 3, 3), "out": (1, 1, 5, 9, 9)}
    gradient = ConvPartial((1, 1), (1, 1), ((2, 2), (2, 2)), spread=(2, 2))
    # 9 outputs and 3 kernel elements: pairs of even sum are 5 * 2 + 4 * 1.
    assert gradient.flops(windows) == 2 * 5 * 2 * 14 * 14
    assert ConvPartial((1, 1), (1, 1), ((2, 2), (2, 2))).flops(windows) == 2 * 5 * 2 * 27 * 27


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"in_group": 8, "out_group": 8}, "group of 8 x 8"),
        ({"in_group": 2}, "group of 2 x 4"),
        ({"stride": (1, 3)}, "stride of 3"),
        ({"dilation": (1, 2)}, "dilation"),
        ({"spread": (2, 1)}, "dilation"),
    ],
)
def test_what_slic_cannot_do(change: dict[str, Any], said: str) -> None:
    plain: dict[str, Any] = {"stride": (3, 2), "dilation": (1, 1), "pads": ((0, 0), (0, 0))}
    assert ConvPartial1xNSLIC(**plain)
    with pytest.raises(ProgramError, match=said):
        ConvPartial1xNSLIC(**plain | change)


@pytest.mark.parametrize("target", [CATALOGUE["gc2"], CATALOGUE["gc200"]], ids=lambda t: t.name)
@pytest.mark.parametrize("size", [2, 4])
@pytest.mark.parametrize("partial", [2, 4])
@pytest.mark.parametrize("swap", [False, True])
@pytest.mark.parametrize("depth", [1, 33, 64])
def test_products_cost_what_the_planner_says(
    target: Target, size: int, partial: int, swap: bool, depth: int
) -> None:
    rows, columns, batch = (12, 35, 2) if depth > 1 else (1, 35, 2)
    field, outs = (columns, rows) if swap else (rows, columns)
    params = product(field, depth, outs, groups=batch, itemsize=size)
    params = dataclasses.replace(params, batch=1, out_itemsize=4) if depth == 1 else params
    windows = {
        "a": (batch, rows, depth),
        "b": (batch, depth, columns),
        "out": (batch, rows, columns),
    }
    seen = set()
    for method in methods(target, params, dense=True, partial=partial):
        if method.name not in METHODS:
            continue
        seen.add(method.name)
        for in_group in method.in_groups:
            for out_group in method.out_groups:
                in_groups, out_groups = -(-depth // in_group), -(-outs // out_group)
                block = Block(
                    1, field, field, batch, in_groups, in_group, out_groups, out_group, (1, 1)
                )
                want = compute_cycles(target, method, params, block, long_row=True)
                sums = "float32" if method.partial == 4 else "float16"
                codelet = MatMulPartial(method.name, sums, in_group, out_group, swap)
                assert codelet.cycles(target, windows, size) == want
                # The convolution of the same product has as many edges.
                if method.name != "OUTER_PRODUCT":
                    assert codelet.edges(windows) == batch * (
                        in_groups + in_groups * out_groups + out_groups
                    )
    assert seen >= {"AMP", "HMAC"}
    assert ("OUTER_PRODUCT" in seen) == (depth == 1)


def test_the_longer_side_of_a_product_is_its_field() -> None:
    target = CATALOGUE["gc2"]
    wide = {"a": (3, 40), "b": (40, 70), "out": (3, 70)}
    tall = {"a": (70, 40), "b": (40, 3), "out": (70, 3)}
    for method in ("AMP", "HMAC"):
        free, rows, columns = (MatMulPartial(method, swap=s) for s in (None, False, True))
        assert free.cycles(target, wide, 2) == columns.cycles(target, wide, 2)
        assert free.cycles(target, tall, 2) == rows.cycles(target, tall, 2)
        assert free.edges(wide) == columns.edges(wide) == free.edges(tall)
        assert rows.cycles(target, wide, 2) != columns.cycles(target, wide, 2)


def test_methods_by_name() -> None:
    assert MatMulPartial("amp") == MatMulPartial("AMP")
    assert MatMulPartial("mac") == MatMulPartial("HMAC")
    with pytest.raises(ProgramError, match='"abacus"'):
        MatMulPartial("abacus")


def test_row_pieces() -> None:
    """Lists of each worker times pieces of rows: 4 rows cut for 6 workers are 9 pieces at most."""
    plain = ((1, 1), (1, 1), ((0, 0),) * 2)
    windows = {"x": (1, 4, 4, 6, 9), "weights": (4, 4, 4, 3, 5), "out": (1, 4, 4, 4, 5)}
    assert ConvPartial(*plain, in_group=4).row_pieces(windows, 6, 2) == 1 * 5 * 9
    assert ConvPartial(*plain, in_group=8).row_pieces(windows, 6, 2) == 2 * 5 * 9
    assert ConvPartialHorizontalMac(*plain).row_pieces(windows, 6, 2) == 15 * 9
    assert ConvPartialHorizontalMac(*plain, single=True).row_pieces(windows, 6, 2) == 9
    assert ConvPartial1xNSLIC(*plain).row_pieces(windows, 6, 2) == 3 * 2 * 9
    # An item for each of 20 outputs and 3 kernel rows.
    assert ConvPartialVerticalMac(*plain).row_pieces(windows, 6, 2) == 60
    spread = ConvPartial(*plain, spread=(2, 2), in_group=16)
    # Each kernel element meets every second row only: 2 rows.
    assert spread.row_pieces(windows, 6, 2) == 15 * 7
    assert OuterProduct(*plain).row_pieces(windows, 6, 2) == 0
    matrices = {"a": (4, 7), "b": (7, 3), "out": (4, 3)}
    assert MatMulPartial("AMP").row_pieces(matrices, 6, 2) == 6


def test_parts_are_joined_along_dimensions_without_spread_only() -> None:
    """Where data is spread, a part's first input does not say which phase it begins with."""
    windows = {"x": (1, 1, 4, 6, 9), "weights": (1, 8, 4, 3, 5), "out": (1, 1, 8, 9, 5)}
    codelet = ConvPartial((1, 1), (1, 1), ((1, 1), (0, 0)), spread=(2, 1))
    slides = [free.slide for free in codelet.free_axes(windows) if free.slide]
    assert slides == [(("x",), 1, 1)]
