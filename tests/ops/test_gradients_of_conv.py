"""Gradients of Conv against differences in float64, and against torch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gradients import check_gradient, gradients_of
from hypothesis import given, settings
from strategies import array, granularities, seeds, targets
from test_conv import convolutions

#: Sums of up to a few hundred products, by two engines, in units of the largest gradient.
SUMS = 5e-5


@given(problem=convolutions(), granularity=granularities, where=targets, seed=seeds)
@settings(max_examples=25, deadline=None)
def test_all_three_gradients(
    problem: dict[str, Any], granularity: Any, where: tuple[str], seed: int
) -> None:
    """Whatever groups, strides, dilations and padding."""
    inputs, attributes = problem["inputs"], problem["attributes"]
    if str(attributes.get("auto_pad")).startswith("SAME"):
        attributes["dilations"] = [1] * len(attributes["dilations"])  # onnx.reference gets it wrong
    check_gradient(
        "Conv",
        inputs,
        attributes,
        tolerance=SUMS,
        granularity=granularity,
        targets=where,
        seed=seed,
    )


@pytest.mark.parametrize("wanted", [(0,), (1,), (2,), (0, 2), ()])
def test_what_is_not_wanted_is_not_made(wanted: tuple[int, ...]) -> None:
    """One node for each gradient."""
    inputs = [array(0, (1, 2, 5, 5)), array(1, (3, 2, 3, 3)), array(2, (3,))]
    derived = check_gradient("Conv", inputs, wanted=wanted, constants=(1, 2), tolerance=SUMS)
    made = {0: "ConvDataGrad", 1: "ConvWeightGrad", 2: "ReduceSum"}
    assert [node.op for node in derived.backward] == [made[position] for position in wanted]


def test_halves() -> None:
    """Gradients of halves are halves: sums in float32, rounded once."""
    inputs = [array(at, shape, "float16") for at, shape in enumerate([(2, 3, 6), (4, 3, 3), (4,)])]
    check_gradient("Conv", inputs, {"strides": [2]})


@given(problem=convolutions(), seed=seeds)
@settings(max_examples=25, deadline=None)
def test_torch(problem: dict[str, Any], seed: int) -> None:
    """The same numbers as torch; its padding is symmetric, so zeros are added by hand."""
    torch = pytest.importorskip("torch")
    inputs, attributes = problem["inputs"], problem["attributes"]
    attributes.pop("auto_pad", None)
    dims = inputs[0].ndim - 2
    pads = attributes.setdefault("pads", [r + 2 for r in inputs[1].shape[2:]] * 2)
    reach = [
        (k - 1) * d + 1 - pads[i] - pads[dims + i]
        for i, (k, d) in enumerate(zip(inputs[1].shape[2:], attributes["dilations"], strict=True))
    ]
    if any(n < r for n, r in zip(inputs[0].shape[2:], reach, strict=True)):
        return
    (weight,), found = gradients_of("Conv", inputs, attributes, seed=seed)
    ours = [torch.tensor(x, requires_grad=True) for x in inputs]
    sides = [n for d in reversed(range(dims)) for n in (pads[d], pads[dims + d])]
    padded = torch.nn.functional.pad(ours[0], sides)
    convolve = getattr(torch.nn.functional, f"conv{dims}d")
    made = convolve(
        padded,
        ours[1],
        ours[2] if len(ours) > 2 else None,
        stride=attributes["strides"],
        dilation=attributes["dilations"],
        groups=attributes["group"],
    )
    made.backward(torch.tensor(weight))
    for mine, theirs in zip(found, ours, strict=True):
        scale = max(1.0, float(np.abs(mine).max(initial=0)))
        np.testing.assert_allclose(mine, theirs.grad.numpy(), rtol=0, atol=SUMS * scale)
