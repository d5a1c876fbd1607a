"""Reduce family and global pools, against onnx.reference, NumPy in float64, and onnxruntime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from harness import check_node
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ipuc.emulator.run import Emulator
from ipuc.emulator.strict import StrictEmulator

Array = NDArray[Any]
FLOATS = ("float32", "float16")
WHOLE = ("int32", "int64")
#: Element types by operator: what ONNX allows and both oracles compute.
KINDS = {
    "ReduceSum": FLOATS + WHOLE,
    "ReduceMean": FLOATS + WHOLE,
    "ReduceProd": FLOATS + WHOLE,
    "ReduceMax": (*FLOATS, *WHOLE, "int8", "uint8", "bool"),
    "ReduceMin": (*FLOATS, *WHOLE, "int8", "uint8", "bool"),
    "ReduceL1": FLOATS + WHOLE,
    "ReduceL2": FLOATS + WHOLE,
    "ReduceSumSquare": (*FLOATS, "int64"),  # the reference makes int64 of int32
    "ReduceLogSum": FLOATS,
    "ReduceLogSumExp": FLOATS,
}
#: float32 sums of up to some hundred terms in another order than NumPy's.
CLOSE: dict[str, Any] = {"rtol": 2e-5, "atol": 2e-6}
SEED = np.random.default_rng(0)


def values(op: str, shape: tuple[int, ...], dtype: str) -> Array:
    """Numbers that keep products and logarithms in range."""
    if dtype == "bool":
        return SEED.random(shape) < 0.6
    if dtype in FLOATS:
        low, high = (0.1, 2) if op in ("ReduceLogSum", "ReduceProd") else (-2, 2)
        return SEED.uniform(low, high, shape).astype(dtype)
    return SEED.integers(0 if dtype == "uint8" else -3, 4, shape).astype(dtype)


@st.composite
def problems(
    draw: st.DrawFn, least: int = 1
) -> tuple[str, Array, list[int] | None, dict[str, int]]:
    """Operator, data, axes (None: not given) and attributes."""
    op = draw(st.sampled_from(sorted(KINDS)))
    scalars = op != "ReduceLogSumExp"  # which onnx.reference cannot compute for a 0-d array
    shape = tuple(draw(st.lists(st.integers(least, 6), min_size=1 - scalars, max_size=4)))
    x = values(op, shape, draw(st.sampled_from(KINDS[op])))
    axes = draw(st.none() | st.lists(st.integers(0, max(0, len(shape) - 1)), unique=True))
    if not shape:
        axes = None
    if axes is not None:
        axes = [a - draw(st.sampled_from([0, len(shape)])) for a in axes]
    attributes = {"keepdims": draw(st.sampled_from([0, 1]))}
    if draw(st.booleans()):
        attributes["noop_with_empty_axes"] = draw(st.sampled_from([0, 1]))
    return op, x, axes, attributes


def tolerance(op: str, dtype: str) -> dict[str, Any]:
    """Half results of the reference are rounded after every step; ours once."""
    if dtype == "float16":
        return {"rtol": 2e-2 if op == "ReduceProd" else 6e-3, "atol": 6e-3}
    return CLOSE if dtype == "float32" else {"rtol": 0.0, "atol": 0.0}


@given(problems(), st.sampled_from(["tile", "worker", "fine"]))
@settings(max_examples=120, deadline=None)
def test_reduce_with_axes_as_input(
    problem: tuple[str, Array, list[int] | None, dict[str, int]], granularity: str
) -> None:
    op, x, axes, attributes = problem
    inputs = [x] if axes is None else [x, np.array(axes, np.int64)]
    constants = [] if axes is None else [1]
    limits = tolerance(op, x.dtype.name)
    (program, _) = check_node(
        op, inputs, attributes, opset=20, constants=constants, granularity=granularity, **limits
    )
    # Private tile memories agree; vertices one by one may add in another order.
    fast, strict = (machine(program).run({"x0": x})["y0"] for machine in (Emulator, StrictEmulator))
    np.testing.assert_allclose(
        strict.astype(np.float64),
        fast.astype(np.float64),
        rtol=2e-3 if x.itemsize == 2 else 1e-6,
        atol=1e-6,
    )


@given(problems())
@settings(max_examples=60, deadline=None)
def test_reduce_with_axes_as_attribute(
    problem: tuple[str, Array, list[int] | None, dict[str, int]],
) -> None:
    op, x, axes, attributes = problem
    if x.dtype.name in ("bool", "int8", "uint8"):  # not before operator set 12
        x = x.astype(np.int64)
    given_axes = {} if not axes else {"axes": axes}
    kept = {"keepdims": attributes["keepdims"], **given_axes}
    check_node(op, [x], kept, opset=11, **tolerance(op, x.dtype.name))


EMPTY = {
    "ReduceSum": 0.0,
    "ReduceProd": 1.0,
    "ReduceMax": -np.inf,
    "ReduceMin": np.inf,
    "ReduceL1": 0.0,
    "ReduceL2": 0.0,
    "ReduceSumSquare": 0.0,
    "ReduceLogSum": -np.inf,
    "ReduceLogSumExp": -np.inf,
    "ReduceMean": np.nan,
}


@pytest.mark.parametrize("op", sorted(EMPTY))
@pytest.mark.parametrize("keepdims", [0, 1])
def test_empty_sets_give_the_identity(op: str, keepdims: int) -> None:
    """Expected values stand in ONNX's text; the mean of nothing is 0 / 0."""
    x = np.zeros((2, 0, 3), np.float32)
    shape = (2, 1, 3) if keepdims else (2, 3)
    wanted = {"y0": np.full(shape, EMPTY[op], np.float32)}
    inputs = [x, np.array([1])]
    check_node(op, inputs, {"keepdims": keepdims}, opset=20, constants=[1], expected=wanted)


@pytest.mark.parametrize("dtype", ["int32", "uint8", "bool"])
@pytest.mark.parametrize("op", ["ReduceMax", "ReduceMin"])
def test_empty_sets_of_whole_numbers_and_bools(op: str, dtype: str) -> None:
    x = np.zeros((0, 3), dtype)
    if dtype == "bool":
        wanted: Array = np.full((1, 3), op == "ReduceMin")
    else:
        limits = np.iinfo(dtype)
        wanted = np.full((1, 3), limits.min if op == "ReduceMax" else limits.max, dtype)
    check_node(op, [x, np.array([0])], opset=20, constants=[1], expected={"y0": wanted})


def test_log_sum_exp_of_large_and_infinite_numbers() -> None:
    """float64 is the oracle: NumPy's logaddexp, which is stable."""
    x = np.array([[1000, 1001, 999], [-1000, -1001, -np.inf], [-np.inf] * 3, [1, np.inf, 2]])
    wanted = np.logaddexp.reduce(x, axis=1, keepdims=True).astype(np.float32)
    inputs = [x.astype(np.float32), np.array([1])]
    check_node("ReduceLogSumExp", inputs, opset=18, constants=[1], expected={"y0": wanted}, **CLOSE)


@pytest.mark.parametrize("granularity", ["tile", "worker"])
@pytest.mark.parametrize(
    ("op", "oracle"),
    [
        ("ReduceSum", np.sum),
        ("ReduceMean", np.mean),
        ("ReduceMax", np.max),
        ("ReduceSumSquare", lambda x, **k: np.sum(x * x, **k)),
    ],
)
def test_long_sums_of_halves_round_once(op: str, oracle: Any, granularity: Any) -> None:
    """Two stages over 60 000 numbers: a float64 sum, rounded to half once, differs by an ulp."""
    x = SEED.uniform(-1, 1, (2, 30, 1000)).astype(np.float16)
    if op == "ReduceSumSquare":
        x = x / np.float16(8)
    wanted = oracle(x.astype(np.float64), axis=(1, 2), keepdims=True).astype(np.float16)
    programs = check_node(
        op,
        [x, np.array([1, 2])],
        opset=20,
        constants=[1],
        granularity=granularity,
        expected={"y0": wanted},
        targets=["gc200"],
        atol=1e-3,
    )
    assert len(programs[0].compute_sets()) > 1


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("shape", [(2, 3, 5), (1, 2, 4, 3), (2, 2, 2, 3, 2), (3, 4)])
@pytest.mark.parametrize("op", ["GlobalAveragePool", "GlobalMaxPool"])
def test_global_pools(op: str, shape: tuple[int, ...], dtype: str) -> None:
    x = SEED.standard_normal(shape).astype(dtype)
    axes = tuple(range(2, len(shape)))
    oracle = np.mean if op == "GlobalAveragePool" else np.max
    wanted = oracle(x.astype(np.float64), axis=axes, keepdims=True).astype(dtype)
    check_node(op, [x], opset=13, expected={"y0": wanted}, **CLOSE)


@pytest.mark.parametrize("power", [1, 2, 3])
def test_global_lp_pool(power: int) -> None:
    x = SEED.standard_normal((2, 3, 4, 5)).astype(np.float32)
    check_node("GlobalLpPool", [x], {"p": power}, opset=13, oracle="runtime", **CLOSE)


@pytest.mark.parametrize("op", ["ReduceSum", "ReduceMax", "ReduceMean"])
def test_a_reduction_of_single_elements_is_a_view(op: str) -> None:
    x = SEED.standard_normal((3, 1, 2)).astype(np.float32)
    for program in check_node(op, [x, np.array([1])], {"keepdims": 0}, opset=18, constants=[1]):
        assert not list(program.families())
        assert not program.copies()
