"""Fully connected layers by the rules of 2017: values in float64, counts of another counter.

Source of plans and counts: a counter that follows the rules of PopLibs, winter 2016/17, by another
hand, for the AlexNet of that time: halves, partial sums of floats, 1216 tiles, one image.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
import updates
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ipuc.codelets.zero import Zero
from ipuc.emulator import run, strict
from ipuc.planner.precision import parse_precision
from ipuc.planner.worker import dense
from ipuc.planner.worker.layout import grouped
from ipuc.program.enumerate import VertexGraph
from ipuc.program.family import Access, separable
from ipuc.program.program import Program
from ipuc.program.steps import Copy
from ipuc.program.tensor import Tensor
from ipuc.target import parse_target

Array = NDArray[Any]
GC2 = parse_target("gc2")

#: Outputs, inputs; T, K in training; T, K in inference.
ALEXNET = {
    "FC6": (4096, 9216, (32, 38), (16, 76)),
    "FC7": (4096, 4096, (19, 64), (7, 173)),
    "FC8": (1000, 4096, (43, 28), (21, 57)),
}
#: Own vertices, regions, and edges of a layer with its activations: thousands, thousands, millions.
COUNTED = {"FC6": (375, 9940, 43.61), "FC7": (242, 4559, 51.16), "FC8": (123, 1197, 12.69)}


@pytest.mark.parametrize("name", ALEXNET)
def test_plans_of_alexnet(name: str) -> None:
    outs, ins, training, inference = ALEXNET[name]
    assert dense.plan(GC2, outs, ins, training=True) == training
    assert dense.plan(GC2, outs, ins, training=False) == inference


def layer(name: str) -> Program:
    """The three passes of a layer and of its bias, in halves, one image; FC6 reads groups of 16."""
    outs, ins, _, _ = ALEXNET[name]
    ctx = updates.context("gc2")
    ctx.precision = parse_precision("mixed")
    builder, grain = ctx.builder, 16 if name == "FC6" else 1
    lies = (1, 256, 6, 6) if name == "FC6" else (1, ins)
    x = builder.reshape(grouped(ctx, "x", "float16", lies, grain), (1, ins))
    # what is drawn does not depend on the weights: zeros take no time
    builder.values["w"] = builder.constant("w", np.zeros((outs, ins), np.float16))
    bias = builder.constant("b", np.zeros(outs, np.float16))
    dy = builder.variable("dy", "float16", (1, outs))
    with builder.compute_set("what a layer before would leave") as compute_set:
        groups = separable(0, np.arange(ins // grain) * grain)
        tile = separable(0, np.zeros(ins // grain, np.int64))
        compute_set.add(Zero(), tile, out=Access(0, groups, (grain,), (1,)))
    dense.forward(ctx, x, builder.values["w"], bias, "y", training=True)
    weights = builder.values["w"]
    dense.data_gradient(ctx, dy, weights, "dx")
    dense.weight_update(ctx, x, dy, weights, 0.1, "new w")
    dense.bias_update(ctx, dy, bias, 0.1, "new b")
    builder.map_rest()
    return builder.build()


@pytest.mark.parametrize("name", ALEXNET)
def test_counts_of_alexnet(name: str) -> None:
    """By vertex type; all but the weights are scalars, and groups where a pooling leaves them."""
    outs, ins, (t, k), _ = ALEXNET[name]
    program = layer(name)
    assert not [step for step in program.bodies() if isinstance(step, Copy)]
    graph = VertexGraph(program)
    vertices, edges = Counter[str](), Counter[str]()
    for block in graph.blocks():
        vertices[block.codelet.name] += len(block.tile)
        edges[block.codelet.name] += len(block.regions)
    words = sum(-(-len(part) // 4) for part in np.array_split(np.arange(ins), t))
    pieces = 576 if name == "FC6" else ins
    assert vertices == {
        "Zero": pieces,
        "FullyConnectedPartial": outs * t,
        "FullyConnectedReduce": outs,
        "FullyConnectedBwd": k * words,
        "FullyConnectedBwdReduce": ins,
        "FullyConnectedWeightUpdate": outs * t,
        "FullyConnectedBiasUpdate": outs,
    }
    assert edges == {
        "Zero": pieces,
        "FullyConnectedPartial": outs * (pieces + words + t),
        "FullyConnectedReduce": outs * (t + 2),
        "FullyConnectedBwd": 2 * outs * words + k * ins,
        "FullyConnectedBwdReduce": ins * (k + 1),
        "FullyConnectedWeightUpdate": outs * (t + words + pieces),
        "FullyConnectedBiasUpdate": 2 * outs,
    }
    # beside the layer's own, two vertices and six edges of its rectifier for each output
    thousands, regions, millions = COUNTED[name]
    assert round((graph.vertices - pieces + 2 * outs) / 1e3) == thousands
    assert round((graph.regions - pieces) / 1e3) == regions
    assert round((edges.total() - pieces + 5 * outs) / 1e6, 2) == millions


#: Float32 sums of at most some hundred products of about 1: within some units of 2^-24 of the sum.
CLOSE = 2e-5


@st.composite
def cases(draw: st.DrawFn) -> dict[str, Any]:
    """Layers of an input in groups of channels, or of a plain row."""
    group, groups = draw(st.sampled_from([1, 2, 4])), draw(st.integers(1, 3))
    return {
        "batch": draw(st.integers(1, 3)),
        "group": group,
        "lies": (group * groups, draw(st.integers(1, 3)), draw(st.integers(1, 2))),
        "outs": draw(st.integers(1, 7)),
        "turned": draw(st.booleans()),
        "bias": draw(st.sampled_from([None, "row", "one", "each"])),
        "fused": draw(st.booleans()),
        "used": draw(st.booleans()),
        "target": draw(st.sampled_from(["tiny", "gc2,tiles=9"])),
        "seed": draw(st.integers(0, 99)),
    }


def three_passes(case: dict[str, Any]) -> tuple[Program, dict[str, Array]]:
    """A program that reads and writes everything, and the arrays it takes."""
    ctx = updates.context(case["target"])
    builder, draw = ctx.builder, np.random.default_rng(case["seed"])
    batch, outs, ins = case["batch"], case["outs"], int(np.prod(case["lies"]))
    shapes = {"x": (batch, *case["lies"]), "dy": (batch, outs), "w": (outs, ins)}
    shapes |= {"b": {"row": (outs,), "one": (1,), "each": (batch, outs)}.get(case["bias"], (outs,))}
    arrays = {n: draw.normal(size=shape).astype(np.float32) for n, shape in shapes.items()}
    given = {name: builder.input(name, "float32", shapes[name]) for name in ("x", "dy", "b")}
    x = grouped(ctx, "x in groups", "float32", shapes["x"], case["group"])
    builder.copy_into(x, given["x"])
    x = builder.reshape(x, (batch, ins))
    stored = arrays["w"].T if case["turned"] else arrays["w"]
    builder.values["w"] = builder.constant("w", stored)

    def weights() -> Tensor:
        held = builder.values["w"]
        return held.transpose((1, 0)) if case["turned"] else held

    if case["used"]:  # then they stay as they lie
        builder.output("old w", builder.copy(weights()))
    bias = given["b"] if case["bias"] else None
    builder.output("y", dense.forward(ctx, x, weights(), bias, "y", training=True))
    builder.output("dx", dense.data_gradient(ctx, given["dy"], weights(), "dx"))
    if case["fused"]:
        dense.weight_update(ctx, x, given["dy"], weights(), 0.5, "new w", keep=0.75)
        builder.output("new w", weights())
    else:
        builder.output("dw", dense.weight_gradient(ctx, x, given["dy"], weights(), "dw"))
    if case["bias"] == "row":
        new = builder.copy(given["b"])
        dense.bias_update(ctx, given["dy"], new, 0.5, "new b", keep=0.75)
        builder.output("new b", new)
    builder.map_rest()
    return builder.build(), arrays


def wanted(case: dict[str, Any], arrays: dict[str, Array]) -> dict[str, Array]:
    """What the outputs should be."""
    x, dy, w, b = (arrays[name].astype(np.float64) for name in ("x", "dy", "w", "b"))
    x = x.reshape(len(x), -1)
    made = {"y": x @ w.T + (b if case["bias"] else 0), "dx": dy @ w, "dw": dy.T @ x}
    made |= {"new w": 0.75 * w - 0.5 * made["dw"], "old w": w}
    made["new b"] = 0.75 * b - 0.5 * dy.sum(axis=0) if case["bias"] == "row" else b
    return made


@given(case=cases())
@settings(max_examples=40, deadline=None)
def test_values(case: dict[str, Any]) -> None:
    program, arrays = three_passes(case)
    inputs = {name: arrays[name] for name in program.inputs}
    made, exact = run.run(program, inputs), wanted(case, arrays)
    for name, values in made.items():
        np.testing.assert_allclose(values, exact[name], rtol=0, atol=CLOSE, err_msg=name)
    for name, values in strict.run(program, inputs).items():
        np.testing.assert_allclose(values, made[name], rtol=0, atol=CLOSE, err_msg=name)


def test_weights_that_meet_groups_lie_as_the_groups_do() -> None:
    """No copy of weights, and the first row begins with the first channels of the first pixel."""
    case = {"batch": 1, "group": 4, "lies": (8, 3, 2), "outs": 5, "turned": True, "bias": "row"}
    case |= {"fused": True, "used": False, "target": "tiny", "seed": 0}
    program, arrays = three_passes(case)
    (weights,) = (one.id for one in program.variables if one.name == "w")
    reshaped = arrays["w"].reshape(5, 2, 4, 3, 2).transpose(0, 1, 3, 4, 2)
    np.testing.assert_array_equal(program.constants[weights], reshaped.reshape(-1))
    copied = [
        m.destination.variable for s in program.bodies() if isinstance(s, Copy) for m in s.moves
    ]
    assert len(copied) == 2  # the input into groups, and the bias that is updated


def test_halves_are_added_in_float32_and_rounded_once() -> None:
    """A sum of halves that float16 additions would lose: 2048 + 1 + 1 + ... on several tiles."""
    ctx = updates.context("tiny")
    ctx.precision = parse_precision("mixed")
    builder, ins = ctx.builder, 33
    x = builder.input("x", "float16", (1, ins))
    weights = builder.constant("w", np.ones((1, ins), np.float16))
    builder.output("y", dense.forward(ctx, x, weights, None, "y", training=False))
    builder.map_rest()
    values = np.ones((1, ins), np.float16)
    values[0, 0] = 2048
    assert run.run(builder.build(), {"x": values})["y"].item() == 2080
