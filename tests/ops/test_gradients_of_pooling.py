"""Gradients of poolings against differences of onnxruntime's poolings, and against torch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gradient_check import derive, gradients, on_tiles
from gradients import check_gradient, gradients_of
from harness import Array, feeds, one_node, runtime
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import granularities, seeds, targets
from test_pooling import Problem, oracle_of, windows

from ipuc.importer.load import load

#: Sums of at most 64 shares, by two engines.
SUMS = 2e-5
DIRECTIONS = 4


def check_pooling(
    op: str,
    x: Array,
    attributes: dict[str, Any],
    step: float,
    tolerance: float,
    target: str,
    granularity: Any = "tile",
    seed: int = 0,
) -> None:
    """Hold the gradient to differences of onnxruntime's pooling, and our tiles to the gradient.

    onnx.reference fails on many poolings (see `test_pooling.oracle_of`), so the differences are
    those of float32 numbers.

    Args:
        op: operator.
        x: its input.
        attributes: of the node.
        step: of the differences.
        tolerance: of the largest gradient.
        target: on which our program runs.
        granularity: of that program.
        seed: of weights and directions.
    """
    model = one_node(op, [x], attributes, 22)
    derived = derive(load(model), ["x0"], seed=seed)
    (weight,) = derived.upstream.values()
    given_arrays = feeds(model, [x])
    found = gradients(derived, given_arrays)["x0"]
    random = np.random.default_rng(seed)
    scale = max(1.0, float(np.abs(found).max(initial=0)))
    for _ in range(DIRECTIONS):
        # whole numbers of 1/64, so that adding them to whole numbers is exact
        direction = random.integers(-64, 65, x.shape).astype(np.float32) / 64
        ends = [
            runtime(model, {"x0": x + sign * np.float32(step) * direction})["y0"]
            for sign in (1, -1)
        ]
        rise = (ends[0].astype(np.float64) - ends[1]) / (2 * step)
        wanted = float((weight.astype(np.float64) * rise).sum())
        ours = float((found.astype(np.float64) * direction).sum())
        assert abs(ours - wanted) <= tolerance * scale * np.sqrt(x.size), f"{ours}, not {wanted}"
    tiles = on_tiles(derived, given_arrays, target, granularity)["x0"]
    np.testing.assert_allclose(tiles, found, rtol=0, atol=SUMS * scale, strict=True)


def apart(x: Array, seed: int) -> Array:
    """Different whole numbers: a step below a half changes no maximum."""
    order = np.random.default_rng(seed).permutation(x.size)
    return order.astype(np.float32).reshape(x.shape)


@given(problem=windows(), order=st.integers(0, 1), where=targets, how=granularities, seed=seeds)
@settings(max_examples=30, deadline=None)
def test_max_pool(problem: Problem, order: int, where: tuple[str], how: Any, seed: int) -> None:
    """The step is exact: it changes no choice, and no number is rounded."""
    x, attributes = problem
    attributes = {**attributes, "storage_order": order}
    check_pooling("MaxPool", apart(x, seed), attributes, 0.25, SUMS, where[0], how, seed)


@given(problem=windows(), include=st.integers(0, 1), where=targets, how=granularities, seed=seeds)
@settings(max_examples=30, deadline=None)
def test_average_pool(
    problem: Problem, include: int, where: tuple[str], how: Any, seed: int
) -> None:
    """A mean is linear, so a large step is as good as a small one."""
    x, attributes = problem
    attributes = {**attributes, "count_include_pad": include}
    check_pooling("AveragePool", x, attributes, 4.0, SUMS, where[0], how, seed)


@given(
    problem=windows(),
    power=st.sampled_from([1, 2, 3]),
    where=targets,
    how=granularities,
    seed=seeds,
)
@settings(max_examples=30, deadline=None)
def test_lp_pool(problem: Problem, power: int, where: tuple[str], how: Any, seed: int) -> None:
    """Away from 0, by differences in float64 where onnx.reference can, else by rough ones.

    With a step of 0.01 on numbers of about 1 float32 differences are good to 1e-3.
    """
    x, attributes = problem
    x = np.where(x < 0, x - 1, x + 1).astype(np.float32)
    attributes = {**attributes, "p": power}
    if oracle_of("LpPool", attributes) == "reference":
        check_gradient(
            "LpPool", [x], attributes, targets=where, granularity=how, tolerance=5e-5, seed=seed
        )
    else:
        check_pooling("LpPool", x, attributes, 0.01, 2e-3, where[0], how, seed)


def test_a_norm_of_nothing_has_no_gradient() -> None:
    x = np.zeros((1, 1, 6), np.float32)
    x[0, 0, 4] = 2.0
    _, (found,) = gradients_of("LpPool", [x], {"kernel_shape": [2], "strides": [2]})
    assert np.isfinite(found).all()
    assert (found[0, 0, :4] == 0).all()


@pytest.mark.parametrize("op", ["MaxPool", "AveragePool"])
def test_halves(op: str) -> None:
    """Shares of halves are added in float32."""
    x = apart(np.zeros((2, 3, 7, 5)), 1).astype(np.float16)
    attributes = {"kernel_shape": [3, 2], "strides": [2, 1], "pads": [1, 0, 1, 1]}
    model = one_node(op, [x], attributes, 22, outputs=("float16",))
    derived = derive(load(model), ["x0"])
    found = gradients(derived, feeds(model, [x]))["x0"]
    tiles = on_tiles(derived, feeds(model, [x]), "tiny")["x0"]
    assert found.dtype == tiles.dtype == np.float16
    # two roundings of a share and of their sum: 2 ** -11 each, of numbers below 4
    np.testing.assert_allclose(tiles.astype(float), found.astype(float), rtol=0, atol=4e-3)


@given(problem=windows(), include=st.integers(0, 1), seed=seeds)
@settings(max_examples=30, deadline=None)
def test_torch(problem: Problem, include: int, seed: int) -> None:
    """The same numbers as torch, ties among the largest included."""
    torch = pytest.importorskip("torch")
    x, attributes = problem
    x = np.round(x)
    dims = x.ndim - 2
    kernel = attributes["kernel_shape"]
    half = [
        min(n // 2, p) for n, p in zip(kernel, attributes.get("pads", [0] * dims), strict=False)
    ]
    attributes = {**attributes, "pads": half * 2, "ceil_mode": 0}
    attributes.pop("auto_pad", None)
    (weight,), (found,) = gradients_of("MaxPool", [x], attributes, seed=seed)
    ours = torch.tensor(x, requires_grad=True)
    largest = getattr(torch.nn.functional, f"max_pool{dims}d")
    largest(ours, kernel, attributes["strides"], half, attributes["dilations"]).backward(
        torch.tensor(weight)
    )
    np.testing.assert_allclose(found, ours.grad.numpy(), rtol=0, atol=SUMS)
    attributes = {**attributes, "dilations": [1] * dims, "count_include_pad": include}
    (weight,), (found,) = gradients_of("AveragePool", [x], attributes, seed=seed)
    ours = torch.tensor(x, requires_grad=True)
    mean = getattr(torch.nn.functional, f"avg_pool{dims}d")
    mean(ours, kernel, attributes["strides"], half, count_include_pad=bool(include)).backward(
        torch.tensor(weight)
    )
    np.testing.assert_allclose(found, ours.grad.numpy(), rtol=0, atol=SUMS)
