"""Weight gradients by outer products: values in float64, plans and counts of another counter.

Source of plans and counts: a counter that follows the rules of PopLibs, winter 2016/17, by another
hand, for the AlexNet of that time: halves, partial sums of floats, 1216 tiles, one image.
"""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import updates
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from ipuc.emulator.run import Emulator
from ipuc.emulator.strict import StrictEmulator
from ipuc.planner.conv_problem import Conv
from ipuc.planner.window import Slide
from ipuc.planner.worker.block_sums import stages
from ipuc.planner.worker.conv_bias import bias_update
from ipuc.planner.worker.conv_weight_plan import plan_weights
from ipuc.planner.worker.conv_weight_update import weight_gradient, weight_update
from ipuc.profile.cycles import compute_cycles
from ipuc.program.enumerate import VertexGraph
from ipuc.program.program import Program
from ipuc.program.save import load, save
from ipuc.program.steps import Copy
from ipuc.target.catalogue import parse_target

GC2 = parse_target("gc2")
#: Sums of at most some thousand products, in float32: 1e-6 is 17 units in the last place.
TOLERANCE = 1e-6

#: Channels out and in, window, groups of in and out channels; the printed tx, ty, tz, ti.
ALEXNET = {
    "conv1": (64, 4, updates.square(224, 11, 4, 3), 4, 16, (5, 55, 4, 1)),
    "conv2": (192, 64, updates.square(27, 5, 1, 2), 8, 8, (2, 3, 24, 8)),
    "conv3": (384, 192, updates.square(13, 3, 1, 1), 16, 16, (2, 2, 24, 12)),
    "conv4": (256, 384, updates.square(13, 3, 1, 1), 16, 16, (1, 3, 16, 24)),
    "conv5": (256, 256, updates.square(13, 3, 1, 1), 16, 16, (2, 2, 16, 16)),
}


@pytest.mark.parametrize("name", ALEXNET)
def test_plans_of_alexnet(name: str) -> None:
    outs, ins, slide, group_in, group_out, wanted = ALEXNET[name]
    plan, record = plan_weights(GC2, Conv(1, 1, outs, ins, (slide, slide)), group_in, group_out)
    assert (plan.tx, plan.ty, plan.tz, plan.ti) == wanted
    assert record["chosen"]["tiles"] == np.prod(wanted)


@pytest.mark.parametrize("name", ["conv1", "conv4"])
def test_planned_outer_products_take_the_time_planned(name: str) -> None:
    outs, ins, slide, group_in, group_out, _ = ALEXNET[name]
    conv = Conv(1, 1, outs, ins, (slide, slide))
    ctx = updates.context("gc2")
    data, result, _ = updates.shapes(conv)
    x, dy = (
        updates.in_groups(ctx, *one) for one in (("x", data, group_in), ("dy", result, group_out))
    )
    weight_gradient(ctx, conv, x, dy, "dw")
    ctx.builder.map_rest()
    program = ctx.builder.build()
    (products,) = (step for step in program.compute_sets() if step.name == "dw")
    planned = ctx.plan["chosen"]["costs"]["compute"]
    assert compute_cycles(program, products).max() == planned


def test_counts_of_alexnet() -> None:
    """By vertex type, over all five layers; printed are three digits of both numbers."""
    vertices: Counter[str] = Counter()
    edges: Counter[str] = Counter()
    for outs, ins, slide, group_in, group_out, _ in ALEXNET.values():
        conv = Conv(1, 1, outs, ins, (slide, slide))
        ctx = updates.context("gc2")
        data, result, kernel = updates.shapes(conv)
        dy = updates.in_groups(ctx, "dy", result, group_out)
        weights = ctx.builder.variable("w", "float16", kernel)
        bias = ctx.builder.variable("b", "float16", (outs,))
        weight_update(
            ctx, conv, updates.in_groups(ctx, "x", data, group_in), dy, weights, 0.1, "update"
        )
        plain = dy.reshape((1, *result[2:]))
        assert plain is not None
        bias_update(ctx, plain, bias, 0.1, "bias")
        ctx.builder.map_rest()
        graph = VertexGraph(ctx.builder.build())
        for family in graph.families:
            vertices[family.codelet.name] += family.count
        for block in graph.blocks():
            edges[block.codelet.name] += len(block.regions)
    # Activations and deltas come in pieces of rows, weight deltas task by task: 29.0 k, 1.83 M.
    assert round(vertices["ConvWeightGradAop"], -2) == 29_000
    assert edges["ConvWeightGradAop"] == pytest.approx(1.83e6, abs=0.005e6)
    assert round(vertices["ConvBiasReduce1"], -2) == 5_300
    assert edges["ConvBiasReduce1"] == pytest.approx(0.09e6, abs=0.005e6)
    assert round(vertices["ConvBiasReduce2"], -2) == 36_200
    assert edges["ConvBiasReduce2"] == pytest.approx(0.11e6, abs=0.005e6)
    assert round(vertices["ConvBiasUpdate"], -2) == 1_200
    assert edges["ConvBiasUpdate"] == pytest.approx(0.04e6, abs=0.005e6)
    # a tile of the plan has six vertices that clear, one that has a share of the sums too
    assert vertices["Zero"] == 6 * sum(int(np.prod(row[-1])) for row in ALEXNET.values())


def gradient_program(conv: Conv, target: str, group: int = 1) -> Program:
    """The gradient of a convolution's weights, as a program."""
    ctx = updates.context(target)
    data, result, _ = updates.shapes(conv)
    x = updates.input_in_groups(ctx, "x", data, group)
    dy = updates.input_in_groups(ctx, "dy", result, group)
    ctx.builder.output("dw", weight_gradient(ctx, conv, x, dy, "dw"))
    ctx.builder.map_rest()
    return ctx.builder.build()


def operands(conv: Conv, seed: int) -> dict[str, updates.Array]:
    random = np.random.default_rng(seed)
    data, result, _ = updates.shapes(conv)
    pairs = {"x": data, "dy": result}
    return {name: random.normal(size=n).astype(np.float32) for name, n in pairs.items()}


@st.composite
def slides(draw: st.DrawFn) -> Slide:
    """A window with an output; zeros before and after may differ, inputs may go unread."""
    kernel, stride = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    dilation = draw(st.integers(1, 2))
    reach = (kernel - 1) * dilation + 1
    pad, after = draw(st.integers(0, kernel)), draw(st.integers(0, kernel))
    field = draw(st.integers(max(1, reach - pad - after), 14))
    return Slide(field, (field + pad + after - reach) // stride + 1, kernel, stride, dilation, pad)


def convs() -> st.SearchStrategy[Conv]:
    few = st.sampled_from([1, 3, 4, 8, 17, 24])
    dims = st.lists(slides(), min_size=1, max_size=3).map(tuple)
    return st.builds(Conv, st.integers(1, 3), st.sampled_from([1, 1, 1, 2]), few, few, dims)


@settings(max_examples=60, deadline=None)
@given(convs(), st.integers(0, 9), st.sampled_from(["tiny", "gc200,tiles=7", "gc200,tiles=64"]))
def test_gradient(conv: Conv, seed: int, target: str) -> None:
    """Any convolution: those that the rules do not reach too."""
    if np.prod([s.kernel * s.out for s in conv.slides]) > 2000:
        conv = Conv(1, 1, conv.outs, conv.ins, conv.slides[:1])
    arrays = operands(conv, seed)
    made = Emulator(gradient_program(conv, target)).run(arrays)["dw"]
    exact = updates.by_definition(conv, arrays["x"], arrays["dy"])
    # Products of either sign may nearly cancel: roundings are of the terms, not of what is left.
    terms = updates.by_definition(conv, np.abs(arrays["x"]), np.abs(arrays["dy"]))
    assert np.abs(made - exact).max() < TOLERANCE * max(terms.max(), math.ulp(1.0))


CASES = {
    "rows cut": (Conv(1, 1, 16, 4, (updates.square(23, 11, 4, 3),) * 2), 4),
    "borders": (Conv(2, 1, 24, 16, (updates.square(9, 3, 1, 1),) * 2), 8),
    "points": (Conv(1, 1, 64, 96, (updates.square(5, 1, 1, 0),) * 2), 16),
    "one row": (Conv(1, 1, 32, 16, (Slide(40, 13, 4, 3, 1, 2),)), 16),
    "uneven": (Conv(1, 1, 48, 80, (updates.square(4, 2, 1, 0),) * 2), 16),
}


@pytest.mark.parametrize("name", CASES)
def test_strict_is_fast(name: str) -> None:
    """With tiles that share nothing but what the exchange moves; operands lie in groups."""
    conv, group = CASES[name]
    program, arrays = gradient_program(conv, "tiny", group), operands(conv, 3)
    exact = updates.by_definition(conv, arrays["x"], arrays["dy"])
    for emulator in (Emulator(program), StrictEmulator(program)):
        assert updates.relative_error(emulator.run(arrays)["dw"], exact) < TOLERANCE


def test_operands_in_groups_are_not_copied() -> None:
    conv, group = CASES["points"]
    program = gradient_program(conv, "tiny", group)
    # one copy each of the test's own, into groups
    assert sum(isinstance(step, Copy) for step in program.main.steps) == 2


def test_a_program_is_saved_with_its_empty_windows(tmp_path: Path) -> None:
    conv, group = CASES["borders"]
    program, arrays = gradient_program(conv, "tiny", group), operands(conv, 4)
    save(program, tmp_path / "p.ipu")
    again = load(tmp_path / "p.ipu")
    made, wanted = (Emulator(one).run(arrays)["dw"] for one in (again, program))
    np.testing.assert_array_equal(made, wanted)


def test_as_onnxruntime() -> None:
    """A convolution of the data's channels with the deltas, in ONNX's own words."""
    conv, group = CASES["borders"]
    arrays = operands(conv, 5)
    slide = conv.slides[0]
    node = helper.make_node("Conv", ["x", "dy"], ["dw"], pads=[slide.pad] * 4)
    x, dy = (arrays[name][:, 0].swapaxes(0, 1) for name in ("x", "dy"))
    graph = helper.make_graph(
        [node],
        "gradient",
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, array.shape)
            for name, array in (("x", x), ("dy", dy))
        ],
        [helper.make_tensor_value_info("dw", TensorProto.FLOAT, None)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    exact = session.run(None, {"x": x, "dy": dy})[0].swapaxes(0, 1)[None]
    made = Emulator(gradient_program(conv, "gc200,tiles=64", group)).run(arrays)["dw"]
    assert updates.relative_error(made, exact) < TOLERANCE


@pytest.mark.parametrize("data", [False, True], ids=["constant", "data"])
@pytest.mark.parametrize("order", [(0, 1, 2, 3, 4), (1, 0, 3, 4, 2)], ids=["as is", "turned"])
def test_update(order: tuple[int, ...], *, data: bool) -> None:
    """In place, whichever way the weights lie, with a rate that is known or is not."""
    conv, group = CASES["borders"]
    ctx = updates.context("tiny")
    shapes = updates.shapes(conv)
    x, dy = (
        updates.input_in_groups(ctx, n, s, group)
        for n, s in zip(("x", "dy"), shapes[:2], strict=True)
    )
    lies = ctx.builder.input("w", "float32", tuple(shapes[2][axis] for axis in order))
    weights = lies.transpose([int(a) for a in np.argsort(order)])
    step = ctx.builder.input("rate", "float32", (1,))
    weight_update(ctx, conv, x, dy, weights, step if data else 0.125, "update")
    ctx.builder.output("new", weights)
    ctx.builder.map_rest()
    program = ctx.builder.build()
    arrays = operands(conv, 6)
    old = np.random.default_rng(7).normal(size=shapes[2]).astype(np.float32)
    given_arrays = {"w": old.transpose(order), "rate": np.full(1, 0.125, np.float32), **arrays}
    exact = old - 0.125 * updates.by_definition(conv, arrays["x"], arrays["dy"])
    for emulator in (Emulator(program), StrictEmulator(program)):
        assert updates.relative_error(emulator.run(given_arrays)["new"], exact) < TOLERANCE
    names = {family.codelet.name for family in program.families()}
    assert ("ScaledAdd" in names) == data != ("ConvWeightUpdate" in names)


@pytest.mark.parametrize(
    ("depth", "wanted"), [(1, []), (15, []), (16, [4]), (124, [11]), (125, [25, 5]), (275, [49, 7])]
)
def test_stages(depth: int, wanted: list[int]) -> None:
    """Below 16 partials one stage, below 125 two, else three."""
    assert stages(depth) == wanted
