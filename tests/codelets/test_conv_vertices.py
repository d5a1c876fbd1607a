"""Convolution vertices against onnxruntime, and their cycles against the planner's."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, helper

from ipuc.codelets.conv_horizontal_mac import ConvPartialHorizontalMac
from ipuc.codelets.conv_one_by_one import ConvPartial1x1Out
from ipuc.codelets.conv_outer_product import OuterProduct
from ipuc.codelets.conv_partial import ConvPartial
from ipuc.codelets.conv_slic import ConvPartial1xNSLIC
from ipuc.codelets.conv_vertex import ConvVertex
from ipuc.codelets.conv_vertical_mac import ConvPartialVerticalMac
from ipuc.codelets.define import Batch
from ipuc.emulator import run as fast
from ipuc.emulator import strict
from ipuc.planner.window import Slide, slide_parts
from ipuc.program.builder import Builder
from ipuc.program.family import separable
from ipuc.target import parse_target

Array = NDArray[Any]
MANY = settings(max_examples=60, deadline=None)


def run(codelet: ConvVertex, x: Array, weights: Array, out: tuple[int, ...]) -> Array:
    """One vertex: x [batch, group, ins, *field], weights [group, outs, ins, *kernel]."""
    shape = (x.shape[0], weights.shape[0], weights.shape[1], *out)
    windows = {"x": x.shape, "weights": weights.shape, "out": shape}
    made = codelet.compute(Batch((1,), windows), x=x[None], weights=weights[None])["out"]
    return np.asarray(np.broadcast_to(made, (1, *shape))[0])


def onnx(op: str, x: Array, weights: Array, **attributes: Any) -> Array:
    """What onnxruntime gives for one node."""
    node = helper.make_node(op, ["x", "w"], ["y"], **attributes)
    graph = helper.make_graph(
        [node],
        "one",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape),
            helper.make_tensor_value_info("w", TensorProto.FLOAT, weights.shape),
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    (found,) = session.run(None, {"x": x, "w": weights})
    return np.asarray(found)


def whole(seed: int, *shape: int) -> Array:
    """Small whole numbers, whose sums are exact in any order."""
    return np.random.default_rng(seed).integers(-9, 10, shape).astype(np.float32)


sizes = st.integers(1, 3)
axis = st.fixed_dictionaries(
    {
        "extra": st.integers(0, 4),
        "kernel": st.integers(1, 4),
        "stride": sizes,
        "dilation": sizes,
        "pads": st.tuples(st.integers(0, 3), st.integers(0, 3)),
    }
)


@given(
    axes=st.lists(axis, min_size=1, max_size=2),
    batch=sizes,
    groups=sizes,
    ins=sizes,
    outs=sizes,
    seed=st.integers(0, 1000),
)
@MANY
def test_convolution(
    axes: list[dict[str, Any]], batch: int, groups: int, ins: int, outs: int, seed: int
) -> None:
    """Whole numbers: the sums are exact."""
    field = tuple(
        max((a["kernel"] - 1) * a["dilation"] + 1 - sum(a["pads"]), 1) + a["extra"] for a in axes
    )
    kernel = tuple(a["kernel"] for a in axes)
    x = whole(seed, batch, groups * ins, *field)
    weights = whole(seed + 1, groups * outs, ins, *kernel)
    want = onnx(
        "Conv",
        x,
        weights,
        strides=[a["stride"] for a in axes],
        dilations=[a["dilation"] for a in axes],
        pads=[a["pads"][0] for a in axes] + [a["pads"][1] for a in axes],
        group=groups,
    )
    codelet = ConvPartial(
        tuple(a["stride"] for a in axes),
        tuple(a["dilation"] for a in axes),
        tuple(a["pads"] for a in axes),
    )
    found = run(
        codelet,
        x.reshape(batch, groups, ins, *field),
        weights.reshape(groups, outs, ins, *kernel),
        want.shape[2:],
    )
    np.testing.assert_array_equal(found.reshape(want.shape), want)


@given(
    axes=st.lists(axis, min_size=1, max_size=2),
    every=st.integers(1, 4),
    batch=sizes,
    groups=sizes,
    ins=sizes,
    outs=sizes,
    partials=st.sampled_from(["float32", "float16"]),
    seed=st.integers(0, 1000),
)
@MANY
def test_spread_data(
    axes: list[dict[str, Any]],
    every: int,
    batch: int,
    groups: int,
    ins: int,
    outs: int,
    partials: str,
    seed: int,
) -> None:
    """ConvTranspose spreads its input by its strides; a stride of ours takes some of its outputs.

    Where its pads are p, the vertex sees dilation * (kernel - 1) - p before its window, and a
    kernel that is turned around. Halves hold these whole numbers exactly.
    """
    field, kernel = [a["extra"] + 2 for a in axes], [a["kernel"] for a in axes]
    spread, dilation = [a["stride"] for a in axes], [a["dilation"] for a in axes]
    reach = [(k - 1) * d for k, d in zip(kernel, dilation, strict=True)]
    cut = [tuple(min(p, r) for p in a["pads"]) for a, r in zip(axes, reach, strict=True)]
    room = [(n - 1) * s + 1 for n, s in zip(field, spread, strict=True)]
    cut = [c if n + r > sum(c) else (0, 0) for c, r, n in zip(cut, reach, room, strict=True)]
    x = np.clip(whole(seed, batch, groups * ins, *field), -3, 3)
    weights = np.clip(whole(seed + 1, groups * ins, outs, *kernel), -3, 3)
    every_one = onnx(
        "ConvTranspose",
        x,
        weights,
        strides=spread,
        dilations=dilation,
        pads=[c[0] for c in cut] + [c[1] for c in cut],
        group=groups,
    )
    want = every_one[(slice(None),) * 2 + (slice(None, None, every),) * len(axes)]
    codelet = ConvPartial(
        (every,) * len(axes),
        tuple(dilation),
        tuple((r - c[0], r - c[1]) for r, c in zip(reach, cut, strict=True)),
        partials,
        spread=tuple(spread),
        in_group=4,
    )
    turned = np.flip(weights, tuple(range(2, weights.ndim)))
    turned = turned.reshape(groups, ins, outs, *kernel).swapaxes(1, 2)
    found = run(codelet, x.reshape(batch, groups, ins, *field), turned, want.shape[2:])
    np.testing.assert_array_equal(found.reshape(want.shape), want)


@pytest.mark.parametrize(
    "codelet",
    [
        ConvPartial1x1Out((1,), (1,), ((0, 0),)),
        ConvPartial1x1Out((1,), (1,), ((0, 0),), "float16", in_group=16),
        ConvPartialHorizontalMac((1,), (1,), ((0, 0),), "float16", in_group=2),
        ConvPartialHorizontalMac((1,), (1,), ((0, 0),), single=True),
        ConvPartial1xNSLIC((1,), (1,), ((0, 0),), "float16"),
    ],
)
@pytest.mark.parametrize("kernel", [1, 5])
def test_every_vertex_convolves(codelet: ConvVertex, kernel: int) -> None:
    x, weights = whole(0, 2, 4, 9), whole(1, 4, 4, kernel)
    want = onnx("Conv", x, weights)
    found = run(codelet, x[:, None], weights[None], want.shape[2:])
    np.testing.assert_array_equal(found[:, 0], want)


def test_outer_product() -> None:
    x, weights = whole(0, 1, 2, 9), whole(1, 6, 1, 1)
    want = onnx("Conv", x, weights, group=2)
    codelet = OuterProduct((1,), (1,), ((0, 0),))
    found = run(codelet, x[:, :, None], weights.reshape(2, 3, 1, 1), want.shape[2:])
    np.testing.assert_array_equal(found.reshape(want.shape), want)


@pytest.mark.parametrize("partials", ["float32", "float16"])
def test_depthwise(partials: str) -> None:
    x, weights = whole(0, 2, 6, 5, 7), whole(1, 6, 1, 3, 2)
    want = onnx("Conv", x, weights, group=6, strides=[2, 1])
    codelet = ConvPartialVerticalMac((2, 1), (1, 1), ((0, 0), (0, 0)), partials)
    found = run(codelet, x[:, :, None], weights[:, None], want.shape[2:])
    np.testing.assert_array_equal(found[:, :, 0], want)


HALVES = np.random.default_rng(5).normal(size=(2, 1, 1, 24, 6)).astype(np.float16)


@pytest.mark.parametrize(
    ("codelet", "channels", "rows", "row"),
    [
        # One chain of the unit is 16 products: 16 channels, or 4 of each of 4 kernel rows.
        (ConvPartial((1, 1), (1, 1), ((0, 0),) * 2, "float16"), 16, 1, 1),
        (ConvPartial((1, 1), (1, 1), ((0, 0),) * 2, "float16", in_group=4), 4, 4, 1),
        (ConvPartialHorizontalMac((1, 1), (1, 1), ((0, 0),) * 2, "float16", in_group=8), 8, 1, 1),
        (ConvPartial1xNSLIC((1, 1), (1, 1), ((0, 0),) * 2, "float16"), 4, 1, 4),
        (ConvPartialVerticalMac((1, 1), (1, 1), ((0, 0),) * 2, "float16"), 1, 1, 6),
    ],
)
def test_sums_in_halves_are_rounded_each_time_the_hardware_adds(
    codelet: ConvVertex, channels: int, rows: int, row: int
) -> None:
    """One output of 24 channels and a 6 x 6 kernel, in NumPy's own halves.

    Products of halves are exact in float64, and a chain's sum is rounded from float32 once: where
    float64 and float32 round to different halves, the sum goes another way by one unit. So the
    last bits may differ, but a vertex that rounds at other places misses by more; the count of
    equal outputs decides.
    """
    random = np.random.default_rng(0)
    x, weights = (random.normal(size=(60, 24, 6, 6)).astype(np.float16) for _ in range(2))
    total = np.zeros(60, np.float16)
    for c in range(0, 24, channels):
        for i in range(0, 6, rows):
            for j in range(0, 6, row):
                here = np.s_[:, c : c + channels, i : i + rows, j : j + row]
                chain = (x[here].astype(np.float64) * weights[here]).sum(axis=(1, 2, 3))
                total = (total + chain).astype(np.float16)
    # Each case is a group of its own.
    wide = (x.astype(np.float32)[None], weights.astype(np.float32)[:, None])
    found = run(codelet, *wide, (1, 1))[0, :, 0, 0, 0]
    assert (found == total).mean() > 0.9


@pytest.mark.parametrize("parts", [(1, 1), (2, 3), (3, 7)])
@pytest.mark.parametrize("halves", [False, True])
def test_spread_data_over_many_vertices(parts: tuple[int, int], halves: bool) -> None:
    """A gradient of strides 2 and 3 cut into parts of every phase, tile by tile and joined.

    Whole numbers: the sums are exact, in halves too.
    """
    x, weights = np.clip(whole(0, 2, 3, 4, 5), -4, 4), np.clip(whole(1, 3, 2, 3, 4), -4, 4)
    want = onnx("ConvTranspose", x, weights, strides=[2, 3], pads=[1, 0, 0, 2])
    turned = np.flip(weights, (2, 3)).swapaxes(0, 1)
    dtype = "float16" if halves else "float32"
    graph = Builder(parse_target("tiny"))
    data = graph.input("x", dtype, (2, 1, *x.shape[1:]))
    kernel = graph.input("weights", dtype, (1, *turned.shape))
    out = graph.variable("out", dtype, (2, 1, *want.shape[1:]))
    slides = (
        Slide(4, want.shape[2], 3, pad=1, spread=2),
        Slide(5, want.shape[3], 4, pad=3, spread=3),
    )
    with graph.compute_set("gradient") as work:
        for one in itertools.product(
            *(slide_parts(slide, n) for slide, n in zip(slides, parts, strict=True))
        ):
            codelet = ConvPartial(
                (1, 1), (1, 1), tuple(p.pads for p in one), dtype, spread=(2, 3), in_group=4
            )
            sizes = ((2, 1, 3, *(p.in_size for p in one)), (2, 1, 2, *(p.out_size for p in one)))
            steps = [
                [math.prod(tensor.shape[axis + 1 :]) for axis in range(5)] for tensor in (data, out)
            ]
            where = separable(0, *(np.arange(len(p.index)) % 2 for p in one))
            work.add(
                codelet,
                where,
                x=graph.field(
                    data,
                    [p.in_begin * s for p, s in zip(one, steps[0][3:], strict=True)],
                    sizes[0],
                    steps[0],
                ),
                weights=graph.field(kernel, [p.index * 0 for p in one], (1, *turned.shape)),
                out=graph.field(
                    out,
                    [p.out_begin * s for p, s in zip(one, steps[1][3:], strict=True)],
                    sizes[1],
                    steps[1],
                ),
            )
    graph.output("out", out)
    graph.map_rest()
    program = graph.build()
    inputs = {
        "x": x.reshape(data.shape).astype(dtype),
        "weights": turned.reshape(kernel.shape).astype(dtype),
    }
    for mode in (fast.run, strict.run):
        found = mode(program, inputs)["out"]
        np.testing.assert_array_equal(found.reshape(want.shape), want)
