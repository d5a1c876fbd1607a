"""Gradients of reductions and softmax, against float64 differences and torch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gradient_check import derive, on_tiles
from gradients import check_gradient, gradients_of
from harness import Array, one_node
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import Shape, array, granularities, seeds

from ipuc.importer.load import load

FEW = settings(max_examples=6, deadline=None, derandomize=True)
REDUCTIONS = ["Sum", "Mean", "SumSquare", "L1", "L2", "LogSum", "LogSumExp", "Max", "Min", "Prod"]
#: Sums of logarithms need positive operands; differences must not cross a kink.
POSITIVE = {"LogSum"}


def apart(seed: int, shape: Shape) -> Array:
    """Numbers at least 0.05 from each other and from 0, of both signs."""
    count = int(np.prod(shape))
    order = np.random.default_rng(seed).permutation(count)
    values = (order + 1) * 0.1 * np.where(order % 2 == 0, 1, -1)
    return (values / max(1.0, 0.02 * count)).astype(np.float32).reshape(shape)


@st.composite
def problems(draw: st.DrawFn, least: int = 1) -> tuple[Array, list[int]]:
    """Numbers, and axes to reduce."""
    shape = tuple(draw(st.lists(st.integers(1, 5), min_size=least, max_size=3)))
    axes = draw(st.lists(st.integers(0, len(shape) - 1), unique=True))
    return apart(draw(seeds), shape), [a - draw(st.sampled_from([0, len(shape)])) for a in axes]


@pytest.mark.parametrize("kind", REDUCTIONS)
@FEW
@given(problem=problems(), keep=st.integers(0, 1), noop=st.integers(0, 1), how=granularities)
def test_reduction(
    kind: str, problem: tuple[Array, list[int]], keep: int, noop: int, how: Any
) -> None:
    x, axes = problem
    x = np.abs(x) if kind in POSITIVE else x
    inputs = [x, np.array(axes, np.int64)] if axes else [x]
    # onnx.reference leaves x as it is where there are no axes, ONNX's text says less
    attributes = {"keepdims": keep, "noop_with_empty_axes": noop if axes else 0}
    check_gradient(f"Reduce{kind}", inputs, attributes, opset=18, constants=[1], granularity=how)


@pytest.mark.parametrize("kind", REDUCTIONS)
def test_axes_by_attribute(kind: str) -> None:
    x = np.abs(apart(1, (3, 4, 2)))
    check_gradient(f"Reduce{kind}", [x], {"axes": [0, -1], "keepdims": 0}, opset=11)


@pytest.mark.parametrize("kind", ["Sum", "Mean", "L2", "Max", "LogSumExp"])
def test_reduction_of_halves(kind: str) -> None:
    x = apart(2, (4, 6)).astype(np.float16)
    check_gradient(f"Reduce{kind}", [x, np.array([1])], opset=18, constants=[1])


@pytest.mark.parametrize("zeros", [[], [(0, 1)], [(0, 1), (0, 3)], [(0, 1), (1, 0)]])
def test_a_product_of_zeros(zeros: list[tuple[int, int]]) -> None:
    """The product of the others is a polynomial: differences know it at 0 too."""
    x = apart(3, (2, 4))
    for place in zeros:
        x[place] = 0
    check_gradient("ReduceProd", [x, np.array([1])], opset=18, constants=[1])


def test_a_norm_of_nothing_has_no_gradient() -> None:
    for op, attributes in (("ReduceL2", {}), ("GlobalLpPool", {"p": 3})):
        x = np.zeros((1, 2, 3), np.float32)
        _, (found,) = gradients_of(op, [x], attributes, opset=18)
        np.testing.assert_array_equal(found, 0)


@pytest.mark.parametrize("op", ["GlobalAveragePool", "GlobalMaxPool"])
@FEW
@given(shape=st.lists(st.integers(1, 5), min_size=4, max_size=4), seed=seeds)
def test_global_pools(op: str, shape: list[int], seed: int) -> None:
    """With one axis of positions onnx.reference gets the shape of GlobalMaxPool wrong."""
    check_gradient(op, [apart(seed, tuple(shape))])


@pytest.mark.parametrize("power", [1, 2, 3])
def test_global_norm(power: int) -> None:
    """onnx.reference has no such operator; the norm of the same axes has."""
    x = apart(5, (2, 3, 4, 2))
    model = one_node("GlobalLpPool", [x], {"p": power}, 18)
    derived = derive(load(model), ["x0"])
    (weight,) = derived.upstream.values()
    (found,) = on_tiles(derived, {"x0": x}, "tiny").values()
    wide = x.astype(np.float64)
    norm = (np.abs(wide) ** power).sum((2, 3), keepdims=True) ** (1 / power)
    wanted = np.sign(wide) * (np.abs(wide) / norm) ** (power - 1) * weight
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


# -- softmax ---------------------------------------------------------------------------------


@FEW
@given(
    op=st.sampled_from(["Softmax", "LogSoftmax"]),
    shape=st.lists(st.integers(1, 6), min_size=1, max_size=3),
    half=st.booleans(),
    how=granularities,
    data=st.data(),
    seed=seeds,
)
def test_softmax(
    op: str, shape: list[int], half: bool, how: Any, data: st.DataObject, seed: int
) -> None:
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    x = array(seed, tuple(shape), "float16" if half else "float32")
    derived = check_gradient(op, [x], {"axis": axis}, opset=13, granularity=how)
    if op == "Softmax":
        assert [node.op for node in derived.backward] == ["SoftmaxGrad"]


@pytest.mark.parametrize("op", ["Softmax", "LogSoftmax"])
def test_softmax_of_a_matrix(op: str) -> None:
    """Before operator set 13 all axes from `axis` on are normalised together."""
    x = array(3, (2, 3, 4))
    model = one_node(op, [x], {"axis": 1}, 11)
    derived = derive(load(model), ["x0"])
    (weight,) = derived.upstream.values()
    (found,) = on_tiles(derived, {"x0": x}, "tiny").values()
    wide, g = x.astype(np.float64).reshape(2, 12), weight.astype(np.float64).reshape(2, 12)
    y = np.exp(wide) / np.exp(wide).sum(1, keepdims=True)
    share = y * ((y * g).sum(1, keepdims=True) if op == "Softmax" else g.sum(1, keepdims=True))
    wanted = (y * g if op == "Softmax" else g) - share
    np.testing.assert_allclose(found, wanted.reshape(x.shape), rtol=1e-4, atol=1e-6)


def test_nothing_passes_through_hardmax() -> None:
    derived = check_gradient("Hardmax", [apart(1, (3, 4))])
    assert derived.zero == ("x0",)


# -- torch -----------------------------------------------------------------------------------


def test_as_torch() -> None:
    """Where elements are equal, and where norms are 0, too."""
    torch = pytest.importorskip("torch")
    ties = np.array([[2, 1, 2, -2], [0, 0, 0, 0], [1, -3, 1, 1]], np.float32)
    square = ties.reshape(1, 3, 2, 2)
    axes = [np.array([1])]
    flat = torch.nn.functional
    uses: list[tuple[str, list[Array], Any]] = [
        ("ReduceMax", [ties, *axes], lambda t: t.amax(1, True)),
        ("ReduceMin", [ties, *axes], lambda t: t.amin(1, True)),
        ("ReduceProd", [ties, *axes], lambda t: t.prod(1, True)),
        ("ReduceL1", [ties, *axes], lambda t: t.norm(1, 1, True)),
        ("ReduceL2", [ties, *axes], lambda t: t.norm(2, 1, True)),
        ("ReduceLogSumExp", [ties, *axes], lambda t: t.logsumexp(1, True)),
        ("GlobalMaxPool", [square], lambda t: flat.adaptive_max_pool2d(t, 1)),
        ("GlobalAveragePool", [square], lambda t: flat.adaptive_avg_pool2d(t, 1)),
        ("Softmax", [ties], lambda t: t.softmax(-1)),
        ("LogSoftmax", [ties], lambda t: t.log_softmax(-1)),
    ]
    for op, inputs, meaning in uses:
        (weight,), (found,) = gradients_of(op, inputs, opset=18, constants=[1])
        leaf = torch.tensor(inputs[0], requires_grad=True)
        meaning(leaf).backward(torch.from_numpy(weight))
        np.testing.assert_allclose(found, leaf.grad.numpy(), rtol=1e-5, atol=1e-6, err_msg=op)
