"""Pooling against onnxruntime and onnx.reference on random shapes, at every granularity."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from harness import Array, check_node, compiled, feeds, one_node, runtime
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from strategies import array, granularities, seeds, targets

from ipuc.emulator.run import run
from ipuc.emulator.strict import run as run_strict

Problem = tuple[Array, dict[str, Any]]


def oracle_of(op: str, attributes: dict[str, Any]) -> str:
    """Which engine to believe: onnx.reference where it is right, else onnxruntime.

    Tried on 1200 random poolings, onnx.reference 1.23 fails or gives another shape or value with
    ceil_mode, with SAME padding, and for means and norms with dilations; its MaxPool also with some
    pads. onnxruntime agreed with us on all that it accepts.
    """
    plain = not attributes.get("ceil_mode") and not attributes.get("auto_pad")
    padded = any(attributes.get("pads", [])) if op == "MaxPool" else False
    dilated = max(attributes["dilations"]) > 1
    return "reference" if plain and not padded and not dilated else "runtime"


@st.composite
def windows(draw: st.DrawFn) -> Problem:
    """A random input [batch, channels, *field] and the attributes of a pooling."""
    dims = draw(st.sampled_from([1, 2, 2, 3]))
    most = {1: 30, 2: 12, 3: 7}[dims]
    kernel = [draw(st.integers(1, 4)) for _ in range(dims)]
    strides = [draw(st.sampled_from([1, 2, 3])) for _ in range(dims)]
    dilations = [draw(st.sampled_from([1, 1, 1, 2])) for _ in range(dims)]
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    attributes: dict[str, Any] = {
        "kernel_shape": kernel,
        "strides": strides,
        "dilations": dilations,
    }
    padding = draw(st.sampled_from(["NOTSET", "NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"]))
    pads = [0] * (2 * dims)
    if padding == "NOTSET":
        # engines refuse padding as wide as the kernel
        pads = [draw(st.integers(0, k - 1)) for k in (*kernel, *kernel)]
        attributes["pads"] = pads
        attributes["ceil_mode"] = draw(st.integers(0, 1))
    else:
        attributes["auto_pad"] = padding
        if padding != "VALID":
            # onnxruntime refuses SAME windows that are dilated; where they are smaller than their
            # stride it refuses some, and onnx.reference fails
            attributes["dilations"] = [1] * dims
            attributes["strides"] = [min(s, k) for s, k in zip(strides, kernel, strict=True)]
    field = [draw(st.integers(r, max(r, most))) for r in reach]
    shape = (draw(st.sampled_from([1, 2])), draw(st.sampled_from([1, 3, 8, 33])), *field)
    return array(draw(seeds), shape), attributes


@given(problem=windows(), granularity=granularities, where=targets, half=st.booleans())
@settings(max_examples=120, deadline=None)
def test_max_pool(problem: Problem, granularity: Any, where: tuple[str], half: bool) -> None:
    """The largest element is exact, in halves too."""
    x, attributes = problem
    check_node(
        "MaxPool",
        [x.astype(np.float16) if half else x],
        attributes,
        oracle=oracle_of("MaxPool", attributes),
        granularity=granularity,
        targets=where,
        rtol=0,
        atol=0,
    )


@given(problem=windows(), order=st.integers(0, 1), granularity=granularities, where=targets)
@settings(max_examples=60, deadline=None)
def test_indices_of_max_pool(
    problem: Problem, order: int, granularity: Any, where: tuple[str]
) -> None:
    """Where the first largest element lies, counted by rows or by columns."""
    x, attributes = problem
    check_node(
        "MaxPool",
        [np.round(x)],  # with ties
        {**attributes, "storage_order": order},
        outputs=("float32", "int64"),
        oracle="runtime",
        granularity=granularity,
        targets=where,
        rtol=0,
        atol=0,
    )


@given(problem=windows(), include=st.integers(0, 1), granularity=granularities, where=targets)
@settings(max_examples=120, deadline=None)
def test_average_pool(problem: Problem, include: int, granularity: Any, where: tuple[str]) -> None:
    """Means of at most 64 numbers, with or without the padding; ceil_mode's never counts."""
    x, attributes = problem
    check_node(
        "AveragePool",
        [x],
        {**attributes, "count_include_pad": include},
        oracle=oracle_of("AveragePool", attributes),
        granularity=granularity,
        targets=where,
    )


@given(
    problem=windows(), power=st.sampled_from([1, 2, 3]), granularity=granularities, where=targets
)
@settings(max_examples=80, deadline=None)
def test_lp_pool(problem: Problem, power: int, granularity: Any, where: tuple[str]) -> None:
    """Norms; powers and roots of float32 round a few times more than sums do."""
    x, attributes = problem
    check_node(
        "LpPool",
        [x],
        {**attributes, "p": power},
        oracle=oracle_of("LpPool", attributes),
        granularity=granularity,
        targets=where,
        rtol=1e-5,
    )


@given(problem=windows(), include=st.integers(0, 1), granularity=granularities, where=targets)
@settings(max_examples=30, deadline=None)
def test_average_pool_of_halves(
    problem: Problem, include: int, granularity: Any, where: tuple[str]
) -> None:
    """Halves are added in float32 and rounded once: half a unit in the last place is 2^-11."""
    x, attributes = problem
    x = x.astype(np.float16)
    attributes = {**attributes, "count_include_pad": include}
    wide = one_node("AveragePool", [x.astype(np.float32)], attributes, 22)
    expected = runtime(wide, {"x0": x.astype(np.float32)})["y0"]
    model = one_node("AveragePool", [x], attributes, 22, outputs=("float16",))
    found = run(compiled(model, where[0], granularity), {"x0": x})["y0"]
    assert found.dtype == np.float16
    np.testing.assert_allclose(found.astype(np.float64), expected, rtol=5.5e-4, atol=1e-6)


@given(
    seed=seeds,
    shape=st.tuples(
        st.integers(1, 3), st.sampled_from([1, 7, 40]), st.integers(1, 9), st.integers(1, 9)
    ),
    dims=st.integers(1, 2),
    op=st.sampled_from(["GlobalMaxPool", "GlobalAveragePool", "GlobalLpPool"]),
    granularity=granularities,
    where=targets,
)
@settings(max_examples=60, deadline=None)
def test_global_pools(
    seed: int, shape: tuple[int, ...], dims: int, op: str, granularity: Any, where: tuple[str]
) -> None:
    """One number for each channel."""
    attributes = {"p": 3} if op == "GlobalLpPool" else {}
    x = array(seed, shape[: 2 + dims])
    check_node(
        op,
        [x],
        attributes,
        opset=18,  # the newest for which onnxruntime has all three
        oracle="runtime",
        granularity=granularity,
        targets=where,
        rtol=1e-5,
        atol=3e-6,
    )


@given(
    problem=windows(),
    op=st.sampled_from(["MaxPool", "AveragePool"]),
    granularity=granularities,
    where=targets,
)
@settings(max_examples=25, deadline=None)
def test_private_tile_memories_agree(
    problem: Problem, op: str, granularity: Any, where: tuple[str]
) -> None:
    """Vertex by vertex on private memories: the same order of operations, so bit for bit."""
    x, attributes = problem
    model = one_node(op, [x], attributes, 22)
    program = compiled(model, where[0], granularity)
    assume(sum(family.count for family in program.families()) < 3000)
    inputs = feeds(model, [x])
    np.testing.assert_array_equal(run(program, inputs)["y0"], run_strict(program, inputs)["y0"])


@pytest.mark.parametrize("granularity", ["tile", "worker"])
def test_integers_have_a_largest_too(granularity: Any) -> None:
    """Padding counts as less than the least integer."""
    x = np.array([[[-128, -127, 5, -128]]], np.int8)
    check_node(
        "MaxPool",
        [x],
        {"kernel_shape": [2], "pads": [1, 1]},
        oracle="runtime",
        granularity=granularity,
        rtol=0,
        atol=0,
    )
