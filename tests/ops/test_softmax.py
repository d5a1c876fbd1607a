"""Softmax, LogSoftmax and Hardmax: against onnx.reference, old operator sets against onnxruntime.

onnx.reference takes the logarithm of a Softmax, which may be 0: LogSoftmax is held against float64.

Exponentials are summed in another order than the oracle's: a few float32 roundings.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from harness import check_node
from hypothesis import given
from hypothesis import strategies as st
from strategies import SOME, Array, Shape, array, granularities, seeds, shapes, targets

OPS = ("Softmax", "LogSoftmax", "Hardmax")
CLOSE: dict[str, Any] = {"rtol": 5e-6, "atol": 5e-6}
by_op = pytest.mark.parametrize("op", OPS)


def _expected(op: str, x: Array, axis: int) -> dict[str, Array] | None:
    if op != "LogSoftmax":
        return None
    wide = x.astype(np.float64)
    wide -= wide.max(axis, keepdims=True)
    return {"y0": (wide - np.log(np.exp(wide).sum(axis, keepdims=True))).astype(x.dtype)}


@by_op
@SOME
@given(
    shape=shapes(least=1, empty=False),
    data=st.data(),
    seed=seeds,
    half=st.booleans(),
    granularity=granularities,
    target=targets,
)
def test_along_one_axis(
    op: str,
    shape: Shape,
    data: st.DataObject,
    seed: int,
    half: bool,
    granularity: str,
    target: tuple[str],
) -> None:
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    x = array(seed, shape, "float16" if half else "float32", -20, 20)
    check_node(
        op,
        [x],
        {"axis": axis},
        opset=13,
        expected=_expected(op, x, axis),
        granularity=granularity,
        targets=target,
        **CLOSE,
    )


@by_op
@SOME
@given(
    shape=shapes(least=1, empty=False), data=st.data(), opset=st.sampled_from([7, 11]), seed=seeds
)
def test_old_operator_sets_take_all_axes_from_one_on(
    op: str, shape: Shape, data: st.DataObject, opset: int, seed: int
) -> None:
    axis = data.draw(st.integers(0, len(shape) - 1))
    x = array(seed, shape, low=-9, high=9)
    check_node(op, [x], {"axis": axis}, opset=opset, oracle="runtime", **CLOSE)


@by_op
def test_default_axis(op: str) -> None:
    x = array(3, (3, 4, 5))
    check_node(op, [x], opset=13, rtol=5e-6)
    check_node(op, [x], opset=11, oracle="runtime", rtol=5e-6)


@by_op
@pytest.mark.parametrize("shape", [(0,), (3, 0), (0, 3)])
def test_nothing(op: str, shape: Shape) -> None:
    check_node(op, [np.zeros(shape, np.float32)], {"axis": 0 if shape[0] == 3 else -1}, opset=13)


def test_large_elements_do_not_overflow() -> None:
    x = np.array([[1e4, 1e4 + 1, -1e30], [-1e38, 0, 1e38]], np.float32)
    for op in OPS:
        check_node(op, [x], opset=13, expected=_expected(op, x, -1), **CLOSE)


def test_hardmax_marks_the_first_of_equals() -> None:
    x = np.array([[1, 3, 3, 2], [0, 0, 0, 0]], np.float32)
    check_node("Hardmax", [x], opset=13, expected={"y0": np.eye(4, dtype=np.float32)[[1, 0]]})


def test_rows_spread_over_tiles_and_long_rows_are_split() -> None:
    """A row longer than a tile's share needs partial sums on several tiles."""
    (program,) = check_node(
        "Softmax", [array(1, (2, 4000))], opset=13, targets=("gc200,tiles=64",), rtol=5e-6
    )
    tiles = {int(t) for family in program.families() for t in family.tile.dense().ravel()}
    assert len(tiles) > 50
