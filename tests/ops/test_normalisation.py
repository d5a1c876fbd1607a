"""Normalising operators against onnx.reference or onnxruntime.

Variances are sums in another order and inverse roots are taken once for each channel: errors of a
few float32 roundings of the largest element.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from harness import check_model, check_node, compiled, feeds, one_node
from hypothesis import given
from hypothesis import strategies as st
from strategies import SOME, Array, Shape, array, granularities, seeds, shapes, targets

from ipuc.errors import UnsupportedOp

#: onnxruntime takes variances by another formula, whose error grows with the mean.
LOOSE: dict[str, Any] = {"rtol": 1e-4, "atol": 1e-4}
CLOSE: dict[str, Any] = {"rtol": 1e-5, "atol": 1e-5}


def _batch_inputs(seed: int, shape: Shape, dtype: str = "float32") -> list[Array]:
    channels = (shape[1],)
    low = [(-3, 3), (0.5, 2), (-1, 1), (-1, 1), (0.1, 2)]
    return [
        array(seed + i, shape if i == 0 else channels, dtype, *bounds)
        for i, bounds in enumerate(low)
    ]


@SOME
@given(
    shape=shapes(least=2),
    seed=seeds,
    known=st.booleans(),
    half=st.booleans(),
    opset=st.sampled_from([7, 9, 14, 15]),
    granularity=granularities,
    target=targets,
)
def test_batch_inference(
    shape: Shape,
    seed: int,
    known: bool,
    half: bool,
    opset: int,
    granularity: str,
    target: tuple[str],
) -> None:
    inputs = _batch_inputs(seed, shape, "float16" if half else "float32")
    constants = range(1, 5) if known else ()
    x, scale, bias, mean, variance = (
        one.astype(np.float64).reshape(*one.shape, *[1] * (len(shape) - 2)) if i else one
        for i, one in enumerate(inputs)
    )
    want = (x - mean) / np.sqrt(variance + 1e-3) * scale + bias
    check_node(
        "BatchNormalization",
        inputs,
        {"epsilon": 1e-3},
        opset=opset,
        constants=constants,
        expected={"y0": want.astype(inputs[0].dtype)},
        granularity=granularity,
        targets=target,
        **CLOSE,
    )


@pytest.mark.parametrize("opset", [14, 15, 22])
@pytest.mark.parametrize("shape", [(4, 3), (2, 3, 4, 5), (1, 2, 3)])
def test_batch_training(opset: int, shape: Shape) -> None:
    inputs = _batch_inputs(1, shape)
    attributes = {"training_mode": 1, "momentum": 0.75, "epsilon": 1e-2}
    check_node(
        "BatchNormalization",
        inputs,
        attributes,
        opset=opset,
        outputs=["float32"] * 3,
        **CLOSE,
    )


def test_batch_statistics_before_operator_set_14_are_refused() -> None:
    model = one_node(
        "BatchNormalization", _batch_inputs(1, (2, 3, 4)), {}, 9, outputs=["float32"] * 5
    )
    with pytest.raises(UnsupportedOp, match="operator set 14"):
        compiled(model)


def test_batch_statistics_of_every_activation() -> None:
    """`spatial=0` of operator sets 7 and 8: parameters have the shape of one instance."""
    inputs = [array(i, (2, 3, 4, 5) if i == 0 else (3, 4, 5), low=0.1) for i in range(5)]
    x, scale, bias, mean, variance = (one.astype(np.float64) for one in inputs)
    want = (x - mean) / np.sqrt(variance + 1e-5) * scale + bias
    for constants in ((), range(1, 5)):
        check_node(
            "BatchNormalization",
            inputs,
            {"spatial": 0},
            opset=7,
            constants=constants,
            expected={"y0": want.astype(np.float32)},
            **CLOSE,
        )


def test_constant_batch_parameters_leave_one_compute_set() -> None:
    model = one_node("BatchNormalization", _batch_inputs(1, (2, 3, 8)), {}, 15, range(1, 5))
    program = compiled(model)
    assert len(program.compute_sets()) == 1
    assert {family.codelet.name for family in program.families()} == {"MultiplyAdd"}


@SOME
@given(shape=shapes(least=3, empty=False), seed=seeds, target=targets)
def test_instance(shape: Shape, seed: int, target: tuple[str]) -> None:
    inputs = [array(seed, shape), *(array(seed + i, (shape[1],)) for i in (1, 2))]
    check_node(
        "InstanceNormalization",
        inputs,
        {"epsilon": 1e-2},
        oracle="runtime",
        targets=target,
        **LOOSE,
    )


@SOME
@given(
    shape=shapes(least=1, empty=False),
    data=st.data(),
    seed=seeds,
    shift=st.booleans(),
    half=st.booleans(),
    target=targets,
)
def test_layer(
    shape: Shape, data: st.DataObject, seed: int, shift: bool, half: bool, target: tuple[str]
) -> None:
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    dtype = "float16" if half else "float32"
    inputs = [
        array(seed + i, shape[axis:] if i else shape, dtype) for i in range(3 if shift else 2)
    ]
    attributes = {"axis": axis, "epsilon": 1e-2}
    model = one_node(
        "LayerNormalization", inputs, attributes, 17, (), [dtype, "float32", "float32"]
    )
    check_model(model, feeds(model, inputs), oracle="runtime", targets=target, **LOOSE)


@pytest.mark.parametrize("shape", [(2, 6), (2, 6, 5), (1, 4, 3, 3)])
def test_group(shape: Shape) -> None:
    inputs = [array(0, shape), *(array(i, (shape[1],)) for i in (1, 2))]
    check_node("GroupNormalization", inputs, {"num_groups": 2}, opset=21, **CLOSE)


@pytest.mark.parametrize("axis", [-1, 0, 1])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_root_mean_square(axis: int, dtype: str) -> None:
    shape = (3, 4, 5)
    inputs = [array(0, shape, dtype), array(1, shape[axis:], dtype)]
    check_node("RMSNormalization", inputs, {"axis": axis}, opset=23, **CLOSE)


@pytest.mark.parametrize("axes", [None, (1,), (-1, 0)])
def test_mean_variance(axes: tuple[int, ...] | None) -> None:
    """In float64: onnx.reference subtracts squares, which cancel."""
    x = array(0, (2, 3, 4, 5))
    wide, along = x.astype(np.float64), axes or (0, 2, 3)
    want = (wide - wide.mean(along, keepdims=True)) / wide.std(along, keepdims=True)
    check_node(
        "MeanVarianceNormalization",
        [x],
        {} if axes is None else {"axes": axes},
        expected={"y0": want.astype(np.float32)},
        rtol=1e-4,
    )


def test_constant_data_have_no_deviation() -> None:
    x = np.full((2, 3, 4, 4), 7.0, np.float32)
    ones = np.ones(3, np.float32)
    check_node("MeanVarianceNormalization", [x], **CLOSE)
    check_node("InstanceNormalization", [x, ones, ones], **CLOSE)
