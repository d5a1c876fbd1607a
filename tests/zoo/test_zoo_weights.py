"""Weights: seeded, He-normal, and such that activations stay near one; judged by onnxruntime."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from ipuc import zoo
from ipuc.errors import ImportFailure, UnsupportedOp
from ipuc.zoo.build import Net
from ipuc.zoo.draft import Draft
from ipuc.zoo.forward import OPS
from ipuc.zoo.relight import FOLDER, relight
from ipuc.zoo.weights import fill, generator, sample_input

#: A model, its input's name, and the input; out comes the first output of every node.
Run = Callable[[onnx.ModelProto, str, NDArray[np.float32]], dict[str, NDArray[Any]]]

QUICK = ["digits", "astro", "resnet34", "resnet34_2017", "light_squeezenet", "light_shufflenet"]
LARGE = [name for name in zoo.names() if name not in QUICK]

FORWARD = [
    "astro",
    "digits",
    "resnet34_2017",
    "light_shufflenet",
    "light_squeezenet",
    pytest.param("light_bvlc_alexnet", marks=pytest.mark.full),
    pytest.param("light_inception_v2", marks=pytest.mark.full),
    pytest.param("light_densenet121", marks=pytest.mark.full),
]

built = functools.cache(zoo.build)


def small() -> Draft:
    net = Net("small", (3, 12, 12), 1)
    x = net.relu("r1", net.batch_norm("b1", net.conv("c1", "input", 8, 3, pad=1, bias=False)))
    y = net.relu("r2", net.conv("c2", x, 8, 3, pad=1))
    x = net.flatten("f", net.max_pool("p", net.add("a", x, y), 2, 2))
    return net.finish(net.dense("d", x, 5), source="here")


def weights_of(model: onnx.ModelProto) -> dict[str, NDArray[Any]]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def input_shape(model: onnx.ModelProto) -> tuple[int, ...]:
    return tuple(d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim)


def assert_sane(model: onnx.ModelProto, x: NDArray[np.float32], every_value: Run) -> None:
    """Every layer finite, varied, and far inside float16's range (65504)."""
    onnx.checker.check_model(model)
    values = every_value(model, model.graph.input[0].name, x)
    largest = {name: float(np.abs(value).max()) for name, value in values.items()}
    spread = {name: float(value.std()) for name, value in values.items()}
    assert all(math.isfinite(number) for number in largest.values())
    assert max(largest.values()) < 1e4
    last = model.graph.node[-1]
    softmax = last.op_type == "Softmax"
    logits = last.input[0] if softmax else last.output[0]
    assert 0.2 < spread[logits] < 50
    assert min(s for name, s in spread.items() if not (softmax and name == last.output[0])) > 0.02
    assert not softmax or 1 / values[last.output[0]].size < largest[last.output[0]] < 0.99


@pytest.mark.parametrize("name", QUICK)
def test_activations_stay_near_one(name: str, every_value: Run) -> None:
    model = built(name)
    assert_sane(model, sample_input(input_shape(model), 1), every_value)


@pytest.mark.full
@pytest.mark.parametrize("name", LARGE)
def test_activations_of_large_models_stay_near_one(name: str, every_value: Run) -> None:
    model = zoo.build(name)
    assert_sane(model, sample_input(input_shape(model), 1), every_value)


@pytest.mark.parametrize("name", ["resnet34", "light_squeezenet"])
def test_a_photograph_stays_in_range_too(
    name: str, photo: NDArray[np.float32], every_value: Run
) -> None:
    assert_sane(built(name), photo, every_value)


def test_as_shipped_a_light_model_leaves_float16s_range(every_value: Run) -> None:
    model = onnx.load(FOLDER / "light_resnet50.onnx")
    stored = {tensor.name for tensor in model.graph.initializer}
    (data,) = (value.name for value in model.graph.input if value.name not in stored)
    values = every_value(model, data, sample_input((1, 3, 224, 224), 1))
    assert max(np.abs(value).max() for value in values.values()) > 65504


@pytest.mark.parametrize("name", FORWARD)
def test_the_forward_pass_computes_what_onnxruntime_computes(name: str, every_value: Run) -> None:
    # Float32 against float32 in another order of sums; relative to the layer's largest value.
    model = built(name)
    x = sample_input(input_shape(model), 1)
    expected = every_value(model, model.graph.input[0].name, x)
    values: dict[str, NDArray[Any]] = {**weights_of(model), model.graph.input[0].name: x}
    for node in model.graph.node:
        attrs = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        y = OPS[node.op_type](attrs, *(values[i] for i in node.input))
        wanted = expected[node.output[0]]
        assert y.shape == wanted.shape, node.name
        assert np.abs(y - wanted).max() <= 1e-4 * np.abs(wanted).max(), node.name
        values[node.output[0]] = y


def test_swapping_two_input_channels_of_one_convolution_shows(every_value: Run) -> None:
    # The comparison that the relit models exist for: with equal weights this would be invisible.
    model = zoo.build("light_squeezenet")
    x = sample_input((1, 3, 224, 224), 1)
    data, output = model.graph.input[0].name, model.graph.output[0].name
    before = every_value(model, data, x)[output]
    node = next(n for n in model.graph.node if "fire4/expand3x3_w_0" in n.input)
    weight = next(t for t in model.graph.initializer if t.name == node.input[1])
    swapped = numpy_helper.to_array(weight).copy()
    swapped[:, [0, 1]] = swapped[:, [1, 0]]
    weight.CopyFrom(numpy_helper.from_array(swapped, weight.name))
    after = every_value(model, data, x)[output]
    assert np.abs(after - before).max() > 1e-2 * np.abs(before).max()  # the tolerance is 1e-4

    plain = onnx.load(FOLDER / "light_squeezenet.onnx")
    made = {n.output[0] for n in plain.graph.node if n.op_type == "ConstantOfShape"}
    assert node.input[1] in made  # so there, all its channels are the same


def test_weights_are_he_normal_up_to_a_power_of_two() -> None:
    weights = fill(small(), 0)
    draws = generator(0, "c2.weight").standard_normal((8, 8, 3, 3), np.float32)
    factor = np.unique(np.round(np.log2(weights["c2.weight"] / draws / np.sqrt(2 / 72)), 3))
    assert factor.size == 1
    assert factor[0] == round(factor[0])
    # A convolution that batch norm follows is He's distribution itself.
    draws = generator(0, "c1.weight").standard_normal((8, 3, 3, 3), np.float32)
    assert np.allclose(weights["c1.weight"], draws * np.sqrt(2 / 27), rtol=1e-6)


def test_batch_norm_statistics_are_those_of_the_layer_before(every_value: Run) -> None:
    model = built("resnet34")
    weights = weights_of(model)
    values = every_value(
        model, "input", sample_input((1, 3, 224, 224), 0)
    )  # the input they come from
    conv = values["layer3.2.conv1"].astype(np.float64)
    # Statistics are stored with eleven bits: 5e-4 relative; means are near zero, hence atol.
    assert np.allclose(
        weights["layer3.2.bn1.running_mean"], conv.mean((0, 2, 3)), rtol=2e-3, atol=2e-3
    )
    variance = conv.var((0, 2, 3))
    floor = np.maximum(variance, 0.1 * variance.mean())
    assert np.allclose(weights["layer3.2.bn1.running_var"], floor, rtol=5e-3)


def test_no_bias_is_zero_and_none_is_large() -> None:
    for name, value in fill(small(), 0).items():
        if name.endswith("bias"):
            assert np.all(value != 0)
            assert np.abs(value).max() < 1


def test_same_seed_same_bytes_and_another_seed_other_weights() -> None:
    first, again, other = (zoo.build("digits", seed) for seed in (0, 0, 1))
    assert first.SerializeToString() == again.SerializeToString()
    ours, theirs = weights_of(first), weights_of(other)
    assert all(not np.array_equal(ours[name], theirs[name]) for name in ours)


@given(st.integers(0, 2**63), st.text(max_size=20), st.integers(1, 40))
def test_a_tensor_depends_on_seed_and_name_alone(seed: int, name: str, size: int) -> None:
    first = generator(seed, name).standard_normal(size)
    generator(seed, name + "x").standard_normal(7)
    assert np.array_equal(first, generator(seed, name).standard_normal(size))
    assert not np.array_equal(first, generator(seed + 1, name).standard_normal(size))


@given(st.lists(st.integers(1, 40), min_size=1, max_size=3), st.integers(0, 99))
def test_the_sample_input_has_unit_spread_at_any_rank(space: list[int], seed: int) -> None:
    x = sample_input((1, 2, *space), seed)
    assert x.shape == (1, 2, *space)
    assert x.dtype == np.float32
    assert math.isclose(float(x.std()), 1, rel_tol=1e-3)


def _model(nodes: list[onnx.NodeProto], **initializers: NDArray[Any]) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", 1, [1, 2, 6])],
        [helper.make_tensor_value_info("y", 1, ["n", "c", "w"])],
        [numpy_helper.from_array(value, name) for name, value in initializers.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 9)])


def test_relight_replaces_the_constant_weight_and_keeps_the_graph() -> None:
    nodes = [
        helper.make_node("ConstantOfShape", ["s"], ["w"]),
        helper.make_node("Conv", ["x", "w"], ["y"]),
    ]
    model = relight(_model(nodes, s=np.array([3, 2, 2]), unread=np.ones(4, np.float32)), seed=3)
    assert [node.name for node in model.graph.node] == ["y"]
    (weight,) = weights_of(model).items()
    assert weight[0] == "w"
    assert weight[1].shape == (3, 2, 2)
    assert np.unique(weight[1]).size == 12
    assert {p.key: p.value for p in model.metadata_props} == {
        "ipuc.weights": "random, seeded He-normal, seed 3"
    }
    onnx.checker.check_model(model)


def test_relight_refuses_what_it_cannot_evaluate() -> None:
    with pytest.raises(UnsupportedOp, match='Erf node "y"'):
        relight(_model([helper.make_node("Erf", ["x"], ["y"])]))
    same = helper.make_node("MaxPool", ["x"], ["y"], kernel_shape=[2], auto_pad="SAME_UPPER")
    with pytest.raises(UnsupportedOp, match="pads given"):
        relight(_model([same]))
    with pytest.raises(UnsupportedOp, match="role of weight"):
        relight(
            _model(
                [helper.make_node("Concat", ["x", "w"], ["y"], axis=1)],
                w=np.ones((1, 2, 6), np.float32),
            )
        )
    shape = helper.make_node("ConstantOfShape", ["x"], ["w"])
    with pytest.raises(ImportFailure, match="shape of a weight"):
        relight(_model([shape, helper.make_node("Conv", ["x", "w"], ["y"])]))
