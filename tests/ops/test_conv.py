"""Conv against onnxruntime and onnx.reference on random shapes, at every granularity."""

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

#: A sum of n products of numbers below 3 and 1 rounds by at most a few n * 2^-24 * 3; the largest
#: n here is 17 * 27, so 2e-4 would be the bound and 5e-5 is what a random walk stays under.
SUMS: dict[str, Any] = {"rtol": 1e-5, "atol": 5e-5}


@st.composite
def convolutions(draw: st.DrawFn) -> dict[str, Any]:
    """A random Conv: its inputs and attributes."""
    dims = draw(st.sampled_from([1, 1, 2, 2, 2, 3]))
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    ins, outs = draw(st.sampled_from([1, 2, 3, 8, 17])), draw(st.sampled_from([1, 2, 5, 8, 9]))
    batch = draw(st.sampled_from([1, 1, 2, 3]))
    most = {1: 30, 2: 11, 3: 6}[dims]
    kernel = [draw(st.integers(1, 5 if dims < 3 else 3)) for _ in range(dims)]
    dilations = [draw(st.sampled_from([1, 1, 2, 3])) for _ in range(dims)]
    strides = [draw(st.sampled_from([1, 1, 2, 3, 5])) for _ in range(dims)]
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    padding = draw(st.sampled_from(["NOTSET", "NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"]))
    attributes: dict[str, Any] = {"group": groups, "strides": strides, "dilations": dilations}
    pads = [0] * (2 * dims)
    if padding == "NOTSET":
        pads = [draw(st.integers(0, r + 1)) for r in (*reach, *reach)]
        attributes["pads"] = pads
    else:
        attributes["auto_pad"] = padding
    if draw(st.booleans()):
        attributes["kernel_shape"] = kernel
    least = [max(1, r - pads[d] - pads[dims + d]) for d, r in enumerate(reach)]
    if padding.startswith("SAME"):
        least = [1] * dims
    field = [draw(st.integers(n, max(n, most))) for n in least]
    seed = draw(seeds)
    x = array(seed, (batch, groups * ins, *field))
    weights = array(seed + 1, (groups * outs, ins, *kernel), low=-1, high=1)
    bias = array(seed + 2, (groups * outs,)) if draw(st.booleans()) else None
    return {"inputs": [x, weights, bias][: 2 if bias is None else 3], "attributes": attributes}


@given(
    problem=convolutions(),
    granularity=granularities,
    where=targets,
    oracle=st.sampled_from(["reference", "runtime"]),
    constants=st.sampled_from([(), (1,)]),
)
@settings(max_examples=150, deadline=None)
def test_conv(
    problem: dict[str, Any],
    granularity: Any,
    where: tuple[str],
    oracle: str,
    constants: tuple[int, ...],
) -> None:
    """Whatever the shape, the numbers are those of the other engines."""
    inputs, attributes = problem["inputs"], problem["attributes"]
    expected = None
    if str(attributes.get("auto_pad")).startswith("SAME"):
        if max(attributes["dilations"]) > 1:
            expected = same_dilated(inputs, attributes)
        # where a kernel is smaller than its stride, onnxruntime may skip the first elements
        oracle = "reference"
    check_node(
        "Conv",
        inputs,
        attributes,
        expected=expected,
        oracle=oracle,
        granularity=granularity,
        targets=where,
        constants=constants,
        **SUMS,
    )


def same_dilated(inputs: list[Array], attributes: dict[str, Any]) -> dict[str, Array]:
    """SAME padding of a dilated kernel, which onnxruntime refuses and onnx.reference gets wrong.

    The padding that ONNX writes down, given to onnxruntime in numbers.
    """
    begin, end = [], []
    for n, k, s, d in zip(
        inputs[0].shape[2:],
        inputs[1].shape[2:],
        attributes["strides"],
        attributes["dilations"],
        strict=True,
    ):
        total = max(0, (-(-n // s) - 1) * s + (k - 1) * d + 1 - n)
        small, large = total // 2, total - total // 2
        upper = attributes["auto_pad"] == "SAME_UPPER"
        begin.append(small if upper else large)
        end.append(large if upper else small)
    explicit = {k: v for k, v in attributes.items() if k != "auto_pad"} | {"pads": [*begin, *end]}
    model = one_node("Conv", inputs, explicit, 22)
    return runtime(model, feeds(model, inputs))


@given(problem=convolutions(), granularity=granularities, where=targets)
@settings(max_examples=40, deadline=None)
def test_conv_of_halves(problem: dict[str, Any], granularity: Any, where: tuple[str]) -> None:
    """Halves are multiplied and summed in float32, and rounded once when they are stored.

    The oracle is onnxruntime on the same numbers in float32; the result may be half a unit in the
    last place (2^-11) away, or two roundings with a bias, and 6e-4 allows for either.
    """
    attributes = {k: v for k, v in problem["attributes"].items() if k != "auto_pad"}
    reach = [
        (k - 1) * d + 1
        for k, d in zip(problem["inputs"][1].shape[2:], attributes["dilations"], strict=True)
    ]
    attributes.setdefault("pads", [r // 2 for r in (*reach, *reach)])
    halves = [x.astype(np.float16) for x in problem["inputs"]]
    wide = [x.astype(np.float32) for x in halves]
    model = one_node("Conv", wide, attributes, 22)
    (expected,) = runtime(model, feeds(model, wide)).values()
    half = one_node("Conv", halves, attributes, 22, outputs=("float16",))
    found = run(compiled(half, where[0], granularity), feeds(half, halves))["y0"]
    assert found.dtype == np.float16
    largest = max(float(np.abs(expected).max()), 1.0)
    np.testing.assert_allclose(found.astype(np.float64), expected, rtol=1e-3, atol=6e-4 * largest)


@given(problem=convolutions(), granularity=granularities, where=targets)
@settings(max_examples=25, deadline=None)
def test_private_tile_memories_agree(
    problem: dict[str, Any], granularity: Any, where: tuple[str]
) -> None:
    """The strict mode multiplies vertex by vertex: another order of the same sums, 1e-6 apart."""
    model = one_node("Conv", problem["inputs"], problem["attributes"], 22)
    program = compiled(model, where[0], granularity)
    assume(sum(family.count for family in program.families()) < 3000)
    inputs = feeds(model, problem["inputs"])
    fast, strict = run(program, inputs)["y0"], run_strict(program, inputs)["y0"]
    largest = float(np.abs(fast).max(initial=1.0))
    np.testing.assert_allclose(strict, fast, rtol=1e-6, atol=2e-6 * largest)


@pytest.mark.parametrize("padding", ["SAME_UPPER", "SAME_LOWER"])
@pytest.mark.parametrize("field", range(4, 12))
def test_same_padding_of_a_kernel_smaller_than_its_stride(padding: str, field: int) -> None:
    """Elements are left over, and the first window begins at the first element."""
    x = np.arange(field, dtype=np.float32).reshape(1, 1, field)
    attributes = {"auto_pad": padding, "strides": [5]}
    for kernel in (1, 2, 3):
        weights = np.ones((1, 1, kernel), np.float32)
        check_node("Conv", [x, weights], attributes, oracle="reference")
