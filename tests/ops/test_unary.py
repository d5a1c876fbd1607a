"""Operators of one operand against onnx.reference, to a few float32 roundings."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from harness import check_node
from hypothesis import given
from hypothesis import strategies as st
from strategies import FEW, Shape, array, granularities, seeds, shapes, targets

#: Operator -> least and greatest argument.
PLAIN: dict[str, tuple[float, float]] = {
    **dict.fromkeys(("Abs", "Neg", "Exp", "Sign", "Floor", "Ceil", "Round"), (-5, 5)),
    **dict.fromkeys(("Sin", "Cos", "Tan", "Atan", "Sinh", "Cosh", "Asinh", "Tanh"), (-1.5, 1.5)),
    **dict.fromkeys(("Sigmoid", "Relu", "HardSwish", "Softplus", "Softsign"), (-6, 6)),
    **dict.fromkeys(("Mish", "Erf", "Gelu", "Elu", "Celu", "Selu", "HardSigmoid"), (-5, 5)),
    **dict.fromkeys(("LeakyRelu", "ThresholdedRelu", "Shrink"), (-3, 3)),
    **dict.fromkeys(("Asin", "Acos", "Atanh"), (-0.95, 0.95)),
    **dict.fromkeys(("Log", "Sqrt", "Reciprocal"), (0.05, 9)),
    "Acosh": (1.01, 9),
}
ATTRIBUTES: dict[str, dict[str, Any]] = {
    "Gelu": {"approximate": "tanh"},
    "Elu": {"alpha": 0.7},
    "Celu": {"alpha": 2.5},
    "Selu": {"alpha": 1.5, "gamma": 0.9},
    "HardSigmoid": {"alpha": 0.3, "beta": 0.4},
    "LeakyRelu": {"alpha": 0.2},
    "ThresholdedRelu": {"alpha": 1.5},
    "Shrink": {"bias": 0.25, "lambd": 1.5},
}


@pytest.mark.parametrize("op", PLAIN)
@FEW
@given(shape=shapes(), seed=seeds, half=st.booleans(), granularity=granularities, target=targets)
def test_floats(
    op: str, shape: Shape, seed: int, half: bool, granularity: str, target: tuple[str]
) -> None:
    if op == "Softsign" and not shape:
        shape = (1,)  # onnx.reference fails on a scalar
    half = half and op != "Celu"  # float32 alone, until operator set 28
    x = array(seed, shape, "float16" if half else "float32", *PLAIN[op])
    check_node(op, [x], granularity=granularity, targets=target)


@pytest.mark.parametrize("op", ATTRIBUTES)
@FEW
@given(shape=shapes(), seed=seeds, target=targets)
def test_attributes(op: str, shape: Shape, seed: int, target: tuple[str]) -> None:
    check_node(op, [array(seed, shape)], ATTRIBUTES[op], targets=target)


@pytest.mark.parametrize("op", ["Abs", "Neg", "Sign", "Relu", "Shrink"])
@pytest.mark.parametrize("dtype", ["int8", "int32", "int64"])
def test_whole_numbers(op: str, dtype: str) -> None:
    check_node(op, [array(0, (5, 7), dtype, -9, 9)])


@pytest.mark.parametrize("op", ["Exp", "Softplus", "Sigmoid", "Tanh", "Erf", "Relu", "Celu", "Elu"])
def test_far_from_zero(op: str) -> None:
    x = np.array([-np.inf, -1e30, -200, -88, -17, -0.0, 0, 1e-30, 17, 88, 1e30, np.inf, np.nan])
    check_node(op, [x.astype(np.float32)])


def test_erf_of_small_numbers_is_relative() -> None:
    x = np.logspace(-30, 1, 400, dtype=np.float32)
    check_node("Erf", [np.concatenate([x, -x])], rtol=1e-6, atol=0)


def test_swish() -> None:
    for attributes in ({}, {"alpha": 0.5}):
        check_node("Swish", [array(1, (3, 40))], attributes, opset=24)


@pytest.mark.parametrize("dtype", ["bool"])
def test_not(dtype: str) -> None:
    for shape in ((), (0,), (3, 33)):
        check_node("Not", [array(2, shape, dtype)])


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "uint32", "int64"])
def test_bitwise_not(dtype: str) -> None:
    low = 0 if dtype.startswith("u") else -99
    check_node("BitwiseNot", [array(3, (4, 9), dtype, low, 99)])


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_tests_of_single_values(dtype: str) -> None:
    x = np.array([[np.nan, np.inf, -np.inf], [0, -1, 2]], dtype)
    check_node("IsNaN", [x], outputs=["bool"])
    for negative in (0, 1):
        for positive in (0, 1):
            signs = {"detect_negative": negative, "detect_positive": positive}
            check_node("IsInf", [x], signs, outputs=["bool"])


@pytest.mark.parametrize("opset", [7, 13, 22])
def test_identity_and_dropout_are_views(opset: int) -> None:
    x = array(4, (3, 5))
    mask = "bool" if opset >= 12 else None
    (program, *_) = check_node("Dropout", [x], opset=opset, outputs=["float32", mask])
    assert not list(program.families())
    (program, *_) = check_node("Identity", [x], opset=opset)
    assert not list(program.families())


TYPES = ["bool", "int8", "uint8", "int32", "int64", "float16", "float32"]


@pytest.mark.parametrize("to", TYPES)
@pytest.mark.parametrize("source", TYPES)
def test_cast(source: str, to: str) -> None:
    import onnx.helper  # noqa: PLC0415 - only here

    low = 0 if "u" in (source[0], to[0]) else -9
    x = array(5, (3, 11), source, low, 9)
    number = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(to))
    check_node("Cast", [x], {"to": number}, outputs=[to])
    check_node("CastLike", [x, np.zeros(1, to)], outputs=[to])
