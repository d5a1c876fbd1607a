"""PRelu's slopes: one per channel, as operator set 6 meant it, and those that do not fit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper

from ipuc.backend import run_node
from ipuc.errors import IpucError

NODE = helper.make_node("PRelu", ["x", "slope"], ["y"])


@given(st.integers(1, 4), st.integers(2, 5), st.lists(st.integers(1, 5), max_size=2))
def test_one_slope_per_channel(batch: int, channels: int, rest: list[int]) -> None:
    """Against the definition in NumPy. Where the slope also broadcasts as it is, that counts."""
    x = np.random.default_rng(channels).standard_normal((batch, channels, *rest)).astype(np.float32)
    slope = np.arange(1, channels + 1, dtype=np.float32) / 4
    last = x.shape[-1] == channels
    wide = slope if last else slope.reshape(channels, *[1] * len(rest))
    (y,) = run_node(NODE, [x, slope])
    np.testing.assert_array_equal(y, np.where(x < 0, wide * x, x))


@pytest.mark.parametrize("shape", [(5,), (2, 3), (1, 2, 3, 4)])
def test_a_slope_that_fits_neither_way_is_refused(shape: tuple[int, ...]) -> None:
    x = np.zeros((2, 3, 4), np.float32)
    with pytest.raises(IpucError, match=r"slope|broadcast|fit"):
        run_node(NODE, [x, np.zeros(shape, np.float32)])
