"""Gradients of normalising operators, against float64 differences and torch.

A variance of few elements may be small, and its gradient as large as its inverse: points are drawn
so that elements differ.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gradient_check import derive, on_tiles
from gradients import check_gradient, gradients_of
from harness import Array, feeds, one_node
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import Shape, array, granularities, seeds

from ipuc.importer.load import load

FEW = settings(max_examples=6, deadline=None, derandomize=True)
#: Statistics and two sums over them: some more roundings than the harness allows for.
TOLERANCE = 5e-5
HALVES = 2e-2


def points(seed: int, shape: Shape, dtype: str = "float32") -> Array:
    """Numbers that differ by at least 0.1 on the whole, in random order."""
    count = int(np.prod(shape))
    order = np.random.default_rng(seed).permutation(count)
    return (np.linspace(-2, 2, count)[order]).reshape(shape).astype(dtype)


def parameters(seed: int, shape: Shape, dtype: str = "float32") -> list[Array]:
    """Scale and shift."""
    return [array(seed + i, shape, dtype, 0.5, 2) for i in (1, 2)]


# -- batch -----------------------------------------------------------------------------------


@FEW
@given(
    shape=st.lists(st.integers(1, 4), min_size=2, max_size=4),
    wanted=st.sets(st.integers(0, 4), min_size=1),
    half=st.booleans(),
    seed=seeds,
)
def test_batch_with_given_statistics(
    shape: list[int], wanted: set[int], half: bool, seed: int
) -> None:
    dtype = "float16" if half else "float32"
    channels = (shape[1],)
    inputs = [points(seed, tuple(shape), dtype), *parameters(seed, channels, dtype)]
    inputs += [array(seed + 3, channels, dtype), array(seed + 4, channels, dtype, 0.5, 2)]
    options: dict[str, Any] = {"wanted": sorted(wanted), "opset": 15}
    check_gradient("BatchNormalization", inputs, {"epsilon": 1e-2}, **options)


def test_batch_with_statistics_of_every_activation() -> None:
    """`spatial=0` of operator set 7; onnx.reference does not know it."""
    x = points(1, (3, 2, 4))
    inputs = [x, *parameters(1, (2, 4)), array(4, (2, 4)), array(5, (2, 4), low=0.5)]
    model = one_node("BatchNormalization", inputs, {"spatial": 0}, 7)
    derived = derive(load(model), ["x0", "x1"])
    (weight,) = derived.upstream.values()
    found = on_tiles(derived, feeds(model, inputs), "tiny")
    scale, mean, variance = (inputs[i].astype(np.float64) for i in (1, 3, 4))
    deviation = np.sqrt(variance + 1e-5)
    np.testing.assert_allclose(found["x0"], weight * scale / deviation, rtol=1e-5)
    wanted = (weight * (x - mean) / deviation).sum(0)
    np.testing.assert_allclose(found["x1"], wanted, rtol=1e-5, atol=1e-5)


@FEW
@given(
    shape=st.lists(st.integers(2, 5), min_size=2, max_size=4),
    wanted=st.sampled_from([[0, 1, 2], [0], [1, 2], [2]]),
    half=st.booleans(),
    how=granularities,
    seed=seeds,
)
def test_batch_in_training(
    shape: list[int], wanted: list[int], half: bool, how: Any, seed: int
) -> None:
    dtype = "float16" if half else "float32"
    channels = (shape[1],)
    inputs = [points(seed, tuple(shape), dtype), *parameters(seed, channels, dtype)]
    inputs += [array(seed + 3, channels, dtype), array(seed + 4, channels, dtype, 0.5, 2)]
    derived = check_gradient(
        "BatchNormalization",
        inputs,
        {"training_mode": 1, "epsilon": 1e-2},
        opset=15,
        wanted=wanted,
        outputs=[dtype] * 3,
        arriving=[0],
        granularity=how,
        tolerance=HALVES if half else TOLERANCE,
    )
    used = "BatchNormGrad" in [node.op for node in derived.backward]
    assert used == (0 in wanted)


def test_running_statistics_have_no_gradient() -> None:
    inputs = [points(1, (3, 2, 4)), *parameters(1, (2,)), *parameters(5, (2,))]
    model = one_node(
        "BatchNormalization", inputs, {"training_mode": 1}, 15, outputs=["float32"] * 3
    )
    assert derive(load(model), ["x0", "x3"], arriving=[1, 2]).zero == ("x0", "x3")


# -- instances, groups, layers ---------------------------------------------------------------


@FEW
@given(
    shape=st.lists(st.integers(2, 4), min_size=3, max_size=4),
    wanted=st.sampled_from([[0, 1, 2], [0], [1], [2]]),
    half=st.booleans(),
    seed=seeds,
)
def test_instances(shape: list[int], wanted: list[int], half: bool, seed: int) -> None:
    dtype = "float16" if half else "float32"
    inputs = [points(seed, tuple(shape), dtype), *parameters(seed, (shape[1],), dtype)]
    attributes = {"epsilon": 1e-2}
    check_gradient(
        "InstanceNormalization",
        inputs,
        attributes,
        wanted=wanted,
        tolerance=HALVES if half else TOLERANCE,
    )


@pytest.mark.parametrize("wanted", [[0, 1, 2], [0], [1], [2]])
def test_groups(wanted: list[int]) -> None:
    inputs = [points(7, (2, 6, 3)), *parameters(7, (6,))]
    attributes = {"num_groups": 2, "epsilon": 1e-2, "stash_type": 1}
    check_gradient("GroupNormalization", inputs, attributes, wanted=wanted, tolerance=TOLERANCE)


@FEW
@given(
    shape=st.lists(st.integers(2, 4), min_size=2, max_size=3),
    shifted=st.booleans(),
    half=st.booleans(),
    data=st.data(),
    seed=seeds,
)
def test_layers(
    shape: list[int], shifted: bool, half: bool, data: st.DataObject, seed: int
) -> None:
    dtype = "float16" if half else "float32"
    axis = data.draw(st.integers(1 - len(shape), len(shape) - 1))
    scale, shift = parameters(seed, tuple(shape[axis:]), dtype)
    inputs = [points(seed, tuple(shape), dtype), scale, *([shift] if shifted else [])]
    wanted = data.draw(st.sampled_from([[0, 1], [0], [1]]))
    wanted = [*wanted, 2] if shifted else wanted
    attributes = {"axis": axis, "epsilon": 1e-2}
    check_gradient(
        "LayerNormalization",
        inputs,
        attributes,
        wanted=wanted,
        tolerance=HALVES if half else TOLERANCE,
    )


@pytest.mark.parametrize("arriving", [[0, 1, 2], [1], [2], [0, 2]])
def test_statistics_of_layers(arriving: list[int]) -> None:
    """Mean and inverse deviation are outputs with gradients of their own."""
    inputs = [points(3, (2, 3, 4)), *parameters(3, (3, 4))]
    check_gradient(
        "LayerNormalization",
        inputs,
        {"axis": 1, "epsilon": 1e-2},
        outputs=["float32"] * 3,
        arriving=arriving,
        tolerance=TOLERANCE,
    )


@FEW
@given(shape=st.lists(st.integers(2, 4), min_size=1, max_size=3), data=st.data(), seed=seeds)
def test_root_mean_squares(shape: list[int], data: st.DataObject, seed: int) -> None:
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    scale, _ = parameters(seed, tuple(shape[axis:]))
    inputs = [points(seed, tuple(shape)), scale]
    wanted = data.draw(st.sampled_from([[0, 1], [0], [1]]))
    attributes = {"axis": axis, "epsilon": 1e-2}
    check_gradient(
        "RMSNormalization", inputs, attributes, opset=23, wanted=wanted, tolerance=TOLERANCE
    )


@FEW
@given(
    shape=st.lists(st.integers(2, 4), min_size=2, max_size=4),
    half=st.booleans(),
    data=st.data(),
    seed=seeds,
)
def test_mean_and_variance(shape: list[int], half: bool, data: st.DataObject, seed: int) -> None:
    """Its body in onnx.reference knows no float64; this is what ONNX's text says."""
    axes = tuple(data.draw(st.sets(st.integers(0, len(shape) - 1), min_size=2, max_size=3)))
    x = points(seed, tuple(shape), "float16" if half else "float32")
    model = one_node("MeanVarianceNormalization", [x], {"axes": sorted(axes)}, 13)
    derived = derive(load(model), ["x0"])
    (weight,) = derived.upstream.values()

    def weighed(at: Array) -> float:
        rest = at - at.mean(axes, keepdims=True)
        return float((weight * rest / at.std(axes, keepdims=True)).sum())

    (found,) = on_tiles(derived, {"x0": x}, "tiny").values()
    directions = np.random.default_rng(seed).uniform(-1e-5, 1e-5, (4, *shape))
    allowed = (HALVES if half else TOLERANCE) * np.abs(found).max() * np.sqrt(x.size)
    for direction in directions:
        wide = x.astype(np.float64)
        wanted = (weighed(wide + direction) - weighed(wide - direction)) / 2e-5
        assert abs((found * direction).sum() / 1e-5 - wanted) <= allowed


# -- torch -----------------------------------------------------------------------------------


def test_as_torch() -> None:
    torch = pytest.importorskip("torch")
    x = points(1, (3, 4, 2, 5))
    channels = parameters(2, (4,))
    layer = parameters(3, (2, 5))
    kept = [array(5, (4,)), array(6, (4,), low=0.5)]
    of = torch.nn.functional
    uses: list[tuple[str, list[Array], dict[str, Any], Any]] = [
        (
            "BatchNormalization",
            [x, *channels, *kept],
            {"training_mode": 1},
            lambda t, s, b: of.batch_norm(t, None, None, s, b, training=True),
        ),
        (
            "BatchNormalization",
            [x, *channels, *kept],
            {},
            lambda t, s, b: of.batch_norm(t, *map(torch.from_numpy, kept), s, b),
        ),
        (
            "GroupNormalization",
            [x, *channels],
            {"num_groups": 2},
            lambda t, s, b: of.group_norm(t, 2, s, b),
        ),
        (
            "InstanceNormalization",
            [x, *channels],
            {},
            lambda t, s, b: of.instance_norm(t, None, None, s, b),
        ),
        (
            "LayerNormalization",
            [x, *layer],
            {"axis": 2},
            lambda t, s, b: of.layer_norm(t, (2, 5), s, b),
        ),
    ]
    for op, inputs, attributes, meaning in uses:
        outputs = ["float32"] * (3 if attributes.get("training_mode") else 1)
        (weight,), found = gradients_of(
            op, inputs, attributes, wanted=[0, 1, 2], outputs=outputs, arriving=[0]
        )
        leaves = [torch.tensor(one, requires_grad=True) for one in inputs[:3]]
        meaning(*leaves).backward(torch.from_numpy(weight))
        for ours, leaf in zip(found, leaves, strict=True):
            np.testing.assert_allclose(ours, leaf.grad.numpy(), rtol=1e-4, atol=1e-5, err_msg=op)
