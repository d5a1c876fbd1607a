"""Operators of several operands against onnx.reference, on shapes that broadcast."""

from __future__ import annotations

import numpy as np
import pytest
from harness import check_node
from hypothesis import given
from hypothesis import strategies as st
from strategies import FEW, SOME, Array, Shape, array, broadcast, granularities, seeds, targets

from ipuc.errors import ValueRangeError

FLOATS = ("float32", "float16")
WHOLE = ("int32", "int64", "int8", "uint8")
#: Operator -> element types it takes.
ARITHMETIC = {
    **dict.fromkeys(("Add", "Sub", "Mul", "Div"), (*FLOATS, *WHOLE)),
    **dict.fromkeys(("BitwiseAnd", "BitwiseOr", "BitwiseXor"), WHOLE),
    **dict.fromkeys(("And", "Or", "Xor"), ("bool",)),
}
COMPARISONS = ("Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual")


def _divisor(seed: int, shape: Shape, dtype: str) -> Array:
    """No zeros, both signs."""
    x = array(seed, shape, dtype, 1, 5)
    if dtype.startswith("u"):
        return x
    return np.where(array(seed + 1, shape, "bool"), x, -x).astype(dtype)


@pytest.mark.parametrize("op", ARITHMETIC)
@FEW
@given(shapes=broadcast(2), seed=seeds, data=st.data(), granularity=granularities, target=targets)
def test_arithmetic(
    op: str,
    shapes: list[Shape],
    seed: int,
    data: st.DataObject,
    granularity: str,
    target: tuple[str],
) -> None:
    dtype = data.draw(st.sampled_from(ARITHMETIC[op]))
    low = 0 if dtype == "uint8" else -11
    a, b = array(seed, shapes[0], dtype, low, 11), array(seed + 9, shapes[1], dtype, low, 11)
    b = _divisor(seed, shapes[1], dtype) if op == "Div" else b
    check_node(op, [a, b], granularity=granularity, targets=target)


@pytest.mark.parametrize("dtype", ["int8", "int32", "int64"])
def test_whole_numbers_divide_towards_zero(dtype: str) -> None:
    a = np.array([7, -7, 7, -7, 6, -6, 0, -1], dtype)
    b = np.array([2, 2, -2, -2, 3, 3, -5, 2], dtype)
    check_node("Div", [a, b], expected={"y0": np.array([3, -3, -3, 3, 2, -2, 0, 0], dtype)})


@pytest.mark.parametrize("op", COMPARISONS)
@FEW
@given(shapes=broadcast(2), seed=seeds, dtype=st.sampled_from(["float32", "float16", "int32"]))
def test_comparisons(op: str, shapes: list[Shape], seed: int, dtype: str) -> None:
    a, b = (np.rint(array(seed + i, shape, dtype)) for i, shape in enumerate(shapes))
    check_node(op, [a.astype(dtype), b.astype(dtype)], outputs=["bool"])


def test_comparisons_with_not_a_number_fail() -> None:
    x = np.array([np.nan, 1, np.inf, -np.inf], np.float32)
    for op in COMPARISONS:
        check_node(op, [x, np.array([np.nan, np.nan, np.inf, 0], np.float32)], outputs=["bool"])


@FEW
@given(shapes=broadcast(2), seed=seeds)
def test_equality_of_flags(shapes: list[Shape], seed: int) -> None:
    a, b = (array(seed + i, shape, "bool") for i, shape in enumerate(shapes))
    check_node("Equal", [a, b], outputs=["bool"])


@pytest.mark.parametrize("op", ["Max", "Min", "Sum", "Mean"])
@FEW
@given(data=st.data(), count=st.integers(1, 4), seed=seeds, target=targets)
def test_any_number_of_inputs(
    op: str, data: st.DataObject, count: int, seed: int, target: tuple[str]
) -> None:
    # onnx.reference's Mean adds in place, so its first input has the result's shape
    shapes = data.draw(broadcast(count, one_way=True))
    inputs = [array(seed + i, shape) for i, shape in enumerate(shapes)]
    check_node(op, inputs, targets=target)


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint8", "float16"])
def test_extremes_of_other_types(dtype: str) -> None:
    inputs = [array(i, (3, 5), dtype, 0, 99) for i in range(3)]
    check_node("Max", inputs)
    check_node("Min", inputs)


@pytest.mark.parametrize("base", ["float32", "float16", "int32", "int64"])
@pytest.mark.parametrize("exponent", ["float32", "int32", "int64", "uint8"])
def test_pow_of_mixed_types(base: str, exponent: str) -> None:
    x = array(1, (4, 7), base, 1, 5)
    y = array(2, (7,), exponent, 0, 4)
    check_node("Pow", [x, y], outputs=[base], rtol=1e-5)


def test_pow_by_negative_whole_numbers_rounds_towards_zero() -> None:
    x = np.array([1, -1, -1, 2, -3, 5], np.int32)
    y = np.array([-3, -3, -2, -1, -2, 0], np.int32)
    want = np.array([1, -1, 1, 0, 0, 1], np.int32)
    check_node("Pow", [x, y], expected={"y0": want})


@pytest.mark.parametrize("exponent", [2.0, 0.5, 3.0])
def test_pow_by_a_constant(exponent: float) -> None:
    x = array(3, (4, 9), "float32", 0.1, 3)
    for shape in ((), (1,), (1, 1), (2, 1, 1)):
        y = np.full(shape, exponent, np.float32)
        check_node("Pow", [x, y], constants=[1], rtol=1e-5)


@pytest.mark.parametrize("fmod", [0, 1])
@FEW
@given(shapes=broadcast(2), seed=seeds, dtype=st.sampled_from(["float32", "int32", "int64"]))
def test_mod(fmod: int, shapes: list[Shape], seed: int, dtype: str) -> None:
    if dtype == "float32" and not fmod:
        dtype = "int8"  # ONNX wants fmod=1 for floats
    a, b = array(seed, shapes[0], dtype, -20, 20), _divisor(seed, shapes[1], dtype)
    check_node("Mod", [a, b], {"fmod": fmod}, atol=2e-6)


@pytest.mark.parametrize("direction", ["LEFT", "RIGHT"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "uint64"])
def test_bit_shift(direction: str, dtype: str) -> None:
    x, y = array(1, (3, 9), dtype, 0, 200), array(2, (9,), dtype, 0, 7)
    check_node("BitShift", [x, y], {"direction": direction})


@FEW
@given(shapes=broadcast(2, one_way=True), seed=seeds, half=st.booleans())
def test_prelu(shapes: list[Shape], seed: int, half: bool) -> None:
    inputs = [array(seed + i, s, "float16" if half else "float32") for i, s in enumerate(shapes)]
    check_node("PRelu", inputs)


@SOME
@given(
    shapes=broadcast(3),
    seed=seeds,
    dtype=st.sampled_from(["float32", "float16", "int64", "bool"]),
    granularity=granularities,
    target=targets,
)
def test_where(
    shapes: list[Shape], seed: int, dtype: str, granularity: str, target: tuple[str]
) -> None:
    flag = array(seed, shapes[0], "bool")
    a, b = (array(seed + i, shapes[i], dtype) for i in (1, 2))
    check_node("Where", [flag, a, b], outputs=[dtype], granularity=granularity, targets=target)


@SOME
@given(
    dtype=st.sampled_from(["float32", "float16", "int32", "int64", "uint8"]),
    low=st.sampled_from([None, "constant", "data", "endless"]),
    high=st.sampled_from([None, "constant", "data", "endless"]),
    seed=seeds,
)
def test_clip(dtype: str, low: str | None, high: str | None, seed: int) -> None:
    x = array(seed, (4, 33), dtype, 0 if dtype == "uint8" else -9, 9)
    bounds: list[Array | None] = [None, None]
    for position, (kind, value) in enumerate(((low, 2), (high, 5))):
        endless = kind == "endless" and x.dtype.kind == "f"
        if kind is not None:
            sign = 2 * position - 1
            bounds[position] = np.array(sign * np.inf if endless else value, dtype)
    constants = [1 + i for i, kind in enumerate((low, high)) if kind != "data"]
    constants = [i for i in constants if bounds[i - 1] is not None]
    check_node("Clip", [x, *bounds], constants=constants)


def test_clip_at_the_ends_of_int64_is_no_bound() -> None:
    x = array(0, (40,), "int64", -9, 9)
    ends = np.iinfo(np.int64)
    bounds = [np.array(ends.min), np.array(ends.max)]
    check_node("Clip", [x, *bounds], constants=[1, 2])
    check_node("Clip", [x, np.array(0), bounds[1]], constants=[1, 2])


@pytest.mark.parametrize("bounds", [[2**40, None], [None, -(2**40)], [2**40, 2**41]])
def test_clip_to_what_tiles_cannot_carry_is_refused(bounds: list[int | None]) -> None:
    x = array(0, (40,), "int64", -9, 9)
    given = [None if bound is None else np.array(bound) for bound in bounds]
    constants = [1 + i for i, bound in enumerate(bounds) if bound is not None]
    with pytest.raises(ValueRangeError, match="does not fit the 32-bit integers"):
        check_node("Clip", [x, *given], constants=constants)


def test_clip_whose_bounds_cross_gives_the_upper_one() -> None:
    x = array(0, (40,))
    bounds = [np.array(2, np.float32), np.array(-1, np.float32)]
    for constants in ([], [1, 2], [1]):
        check_node("Clip", [x, *bounds], constants=constants)


@pytest.mark.parametrize("opset", [7, 10])
@pytest.mark.parametrize("bounds", [{}, {"min": -1.0}, {"max": 0.5}, {"min": -1.0, "max": 0.5}])
def test_clip_by_attributes(opset: int, bounds: dict[str, float]) -> None:
    x = array(0, (5, 9))
    want = np.clip(x, bounds.get("min", -np.inf), bounds.get("max", np.inf))
    check_node("Clip", [x], bounds, opset=opset, expected={"y0": want.astype(np.float32)})


@pytest.mark.parametrize("opset", [7, 8, 13, 14, 22])
@pytest.mark.parametrize("op", ["Add", "Mul", "Less", "Equal", "Max", "Sum"])
def test_every_operator_set(op: str, opset: int) -> None:
    dtype = "int32" if op == "Equal" else "float32"
    inputs = [array(i, (3, 5), dtype) for i in range(2)]
    check_node(op, inputs, opset=opset, outputs=["bool" if op in COMPARISONS else dtype])


def test_more_elements_than_tiles_are_spread_over_all_of_them() -> None:
    (program,) = check_node(
        "Add",
        [array(0, (64, 50)), array(1, (50,))],
        targets=("gc200,tiles=64",),
        granularity="worker",
    )
    tiles = {int(t) for family in program.families() for t in family.tile.dense().ravel()}
    assert len(tiles) > 50
