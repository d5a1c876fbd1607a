"""Dropout: laws of the mask; with a ratio of 0, other engines."""

from __future__ import annotations

import io
import math
from typing import Any

import numpy as np
import onnx
import pytest
from gradient_check import derive, on_tiles
from gradients import check_gradient
from harness import TARGETS, Array, check_model, compiled, one_node
from strategies import array

from ipuc.codelets.rounding import Arithmetic
from ipuc.emulator.run import Emulator
from ipuc.emulator.strict import StrictEmulator
from ipuc.errors import UnsupportedOp
from ipuc.importer.load import load

SHAPE = (4, 5, 300)


def model(ratio: float, x: Array, *, training: bool = True, **attributes: Any) -> onnx.ModelProto:
    """One Dropout with its mask; ratio and mode are constants."""
    return one_node(
        "Dropout",
        [x, np.asarray(ratio, x.dtype), np.asarray(training)],
        attributes,
        22,
        (1, 2),
        (x.dtype.name, "bool"),
    )


def drawn(
    ratio: float = 0.5,
    x: Array | None = None,
    target: str = "tiny",
    granularity: Any = "tile",
    step: int = 0,
    **attributes: Any,
) -> tuple[Array, Array]:
    """Result and mask."""
    x = np.ones(SHAPE, np.float32) if x is None else x
    program = compiled(model(ratio, x, **attributes), target, granularity)
    made = Emulator(program, arithmetic=Arithmetic(step=step)).run({"x0": x})
    return made["y0"], made["y1"]


@pytest.mark.parametrize("ratio", [0.1, 0.5, 0.75])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_what_is_kept_is_scaled(ratio: float, dtype: str) -> None:
    """One product in float32: exact, then one rounding."""
    x = array(3, SHAPE, dtype)
    y, mask = drawn(ratio, x)
    share = float(np.asarray(ratio, dtype))
    scaled = x.astype(np.float32) * np.float32(1 / (1 - share))
    np.testing.assert_array_equal(y, np.where(mask, scaled, 0).astype(dtype), strict=True)


@pytest.mark.parametrize("ratio", [0.1, 0.5, 0.75, 0.999])
def test_the_share_that_is_dropped(ratio: float) -> None:
    """A binomial count of 6000: 5 standard deviations."""
    _, mask = drawn(ratio)
    count = int((~mask).sum())
    sigma = math.sqrt(mask.size * ratio * (1 - ratio))
    assert abs(count - mask.size * ratio) <= 5 * sigma + 1


def test_neighbours_are_independent() -> None:
    """Along every axis: both kept as often as chance says, within 5 standard deviations."""
    _, mask = drawn(0.5)
    for axis in range(mask.ndim):
        first = np.take(mask, range(mask.shape[axis] - 1), axis)
        second = np.take(mask, range(1, mask.shape[axis]), axis)
        both = int((first & second).sum())
        assert abs(both - first.size / 4) <= 5 * math.sqrt(first.size * 3 / 16)


def test_the_mask_is_the_same_everywhere() -> None:
    """At any number of tiles and granularity, and on private memories."""
    _, mask = drawn()
    x = np.ones(SHAPE, np.float32)
    for target in (*TARGETS, "gc200"):
        for granularity in ("tile", "worker", "fine"):
            _, other = drawn(target=target, granularity=granularity)
            np.testing.assert_array_equal(mask, other)
    strict = StrictEmulator(compiled(model(0.5, x))).run({"x0": x})
    np.testing.assert_array_equal(mask, strict["y1"])


def test_the_mask_is_of_step_seed_and_name() -> None:
    """Each gives another mask, of which half agrees by chance."""
    _, mask = drawn()
    x = np.ones(SHAPE, np.float32)
    renamed = model(0.5, x)
    renamed.graph.node[0].output[0] = renamed.graph.output[0].name = "other"
    program = compiled(renamed)
    others = [drawn(step=1)[1], drawn(seed=1)[1], Emulator(program).run({"x0": x})["y1"]]
    for other in others:
        same = int((mask == other).sum())
        assert abs(same - mask.size / 2) <= 5 * math.sqrt(mask.size / 4)
    np.testing.assert_array_equal(mask, drawn()[1])


def test_all_and_nothing() -> None:
    y, mask = drawn(1.0)
    assert not mask.any()
    assert not y.any()
    x = array(1, (3, 5))
    nothing = model(0.0, x)
    (program, *_) = check_model(nothing, {"x0": x})
    assert not list(program.families())
    (program, *_) = check_model(model(0.5, x, training=False), {"x0": x})
    assert not list(program.families())


@pytest.mark.parametrize(("ratio", "said"), [(1.5, "no share"), (np.nan, "no share")])
def test_a_ratio_that_is_none(ratio: float, said: str) -> None:
    with pytest.raises(UnsupportedOp, match=said):
        drawn(ratio)


def test_a_ratio_that_is_not_known() -> None:
    x = np.ones((3, 4), np.float32)
    open_ratio = one_node("Dropout", [x, np.asarray(0.5, x.dtype), np.asarray(True)], {}, 22, (2,))
    with pytest.raises(UnsupportedOp, match="ratio is not known"):
        compiled(open_ratio)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("masked", [True, False])
def test_gradient(dtype: str, masked: bool) -> None:
    """What was kept gets the gradient, scaled as forward; the mask is made if nobody asked."""
    x = array(5, SHAPE, dtype)
    made = model(0.25, x)
    if not masked:
        del made.graph.node[0].output[1:], made.graph.output[1:]
    derived = derive(load(onnx.load(io.BytesIO(made.SerializeToString()))), ["x0"])
    (weight,) = derived.upstream.values()
    found = on_tiles(derived, {"x0": x}, "tiny")["x0"]
    _, mask = drawn(0.25, x)
    scaled = weight.astype(np.float32) * np.float32(1 / 0.75)
    np.testing.assert_array_equal(found, np.where(mask, scaled, 0).astype(dtype), strict=True)


@pytest.mark.parametrize("opset", [7, 13, 22])
def test_gradient_of_inference(opset: int) -> None:
    """The gradient itself: nothing is written."""
    derived = check_gradient("Dropout", [array(6, (3, 4))], opset=opset)
    assert not derived.backward


def test_gradient_of_a_ratio_of_0() -> None:
    x = array(7, (3, 4))
    given = [x, np.asarray(0, x.dtype), np.asarray(True)]
    derived = check_gradient("Dropout", given, wanted=[0], constants=(1, 2))
    assert not derived.backward
