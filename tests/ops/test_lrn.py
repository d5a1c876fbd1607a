"""LRN against its definition in float64 and against onnxruntime.

onnx.reference is no oracle: it visits as many channels as there are instances.
"""

from __future__ import annotations

import numpy as np
import pytest
from gradient_check import derive, gradients, on_tiles
from gradients import gradients_of
from harness import check_node, one_node
from hypothesis import given
from hypothesis import strategies as st
from strategies import SOME, Array, Shape, array, granularities, seeds, shapes, targets

from ipuc.importer.load import load
from ipuc.planner.context import Granularity


def _definition(x: Array, size: int, alpha: float, beta: float, bias: float) -> Array:
    wide = x.astype(np.float64)
    channels = x.shape[1]
    energy = np.zeros_like(wide)
    for channel in range(channels):
        first = max(0, channel - (size - 1) // 2)
        last = min(channels - 1, channel + size // 2)
        energy[:, channel] = (wide[:, first : last + 1] ** 2).sum(axis=1)
    return np.asarray(wide / (bias + alpha / size * energy) ** beta).astype(x.dtype)


@SOME
@given(
    shape=shapes(least=2),
    size=st.integers(1, 9),
    alpha=st.sampled_from([1e-4, 0.5, 3.0]),
    beta=st.sampled_from([0.75, 0.5, 1.3]),
    bias=st.sampled_from([1.0, 2.0]),
    seed=seeds,
    half=st.booleans(),
    granularity=granularities,
    target=targets,
)
def test_any_shape_and_size(
    shape: Shape,
    size: int,
    alpha: float,
    beta: float,
    bias: float,
    seed: int,
    half: bool,
    granularity: str,
    target: tuple[str],
) -> None:
    x = array(seed, shape, "float16" if half else "float32")
    check_node(
        "LRN",
        [x],
        {"size": size, "alpha": alpha, "beta": beta, "bias": bias},
        opset=13,
        expected={"y0": _definition(x, size, alpha, beta, bias)},
        granularity=granularity,
        targets=target,
    )


@pytest.mark.parametrize("size", [1, 3, 5])
@pytest.mark.parametrize("opset", [7, 13])
def test_as_onnxruntime(size: int, opset: int) -> None:
    x = array(0, (2, 7, 5, 4))
    attributes = {"size": size, "alpha": 0.3}
    check_node("LRN", [x], attributes, opset=opset, oracle="runtime", rtol=1e-5)


# Of an even size one channel more lies behind than ahead; at the ends there are fewer.
@pytest.mark.parametrize(("size", "expected"), [(5, {2, 4}), (4, {1, 2, 3})])
def test_channels_are_cut_where_positions_are_few(size: int, expected: set[int]) -> None:
    x = array(1, (1, 500, 1, 1))
    (program,) = check_node(
        "LRN",
        [x],
        {"size": size, "alpha": 0.5},
        opset=13,
        expected={"y0": _definition(x, size, 0.5, 0.75, 1.0)},
        targets=("gc200,tiles=64",),
    )
    tiles = {int(t) for family in program.families() for t in family.tile.dense().ravel()}
    assert len(tiles) > 30
    halos = {family.windows()["x"][0] - family.windows()["out"][0] for family in program.families()}
    assert halos == expected


@SOME
@given(
    shape=shapes(least=2, empty=False),
    size=st.integers(1, 6),
    beta=st.sampled_from([0.75, 1.3]),
    seed=seeds,
    half=st.booleans(),
    granularity=granularities,
    target=targets,
)
def test_gradient(
    shape: Shape,
    size: int,
    beta: float,
    seed: int,
    half: bool,
    granularity: Granularity,
    target: tuple[str],
) -> None:
    """Central differences of the definition, along random directions."""
    x = array(seed, shape, "float16" if half else "float32")
    attributes = {"size": size, "alpha": 0.5, "beta": beta, "bias": 2.0}
    derived = derive(load(one_node("LRN", [x], attributes, 13)), ["x0"])
    (weight,) = derived.upstream.values()
    (found,) = on_tiles(derived, {"x0": x}, target[0], granularity).values()
    (theirs,) = gradients(derived, {"x0": x}).values()
    # a few roundings, of halves one
    unit = (2.0**-9 if half else 1e-5) * max(1.0, float(np.abs(theirs).max(initial=0)))
    np.testing.assert_allclose(found, theirs, rtol=0, atol=unit)
    for direction in np.random.default_rng(seed).uniform(-1, 1, (3, *shape)):
        ends = [
            _definition(x.astype(np.float64) + sign * 1e-5 * direction, size, 0.5, beta, 2.0)
            for sign in (1, -1)
        ]
        wanted = float((weight * (ends[0] - ends[1])).sum()) / 2e-5
        assert abs(float((theirs * direction).sum()) - wanted) <= unit * np.sqrt(x.size)


def test_gradient_as_torch() -> None:
    """An odd size: torch has the larger half of an even neighbourhood ahead, ONNX behind."""
    torch = pytest.importorskip("torch")
    x = array(3, (2, 9, 3, 2))
    (weight,), (found,) = gradients_of("LRN", [x], {"size": 5, "alpha": 0.3}, opset=13)
    leaf = torch.tensor(x, requires_grad=True)
    norm = torch.nn.functional.local_response_norm(leaf, 5, alpha=0.3)
    norm.backward(torch.from_numpy(weight))
    np.testing.assert_allclose(found, leaf.grad.numpy(), rtol=1e-5, atol=1e-6)
