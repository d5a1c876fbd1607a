"""Gradients of windows that do not overlap, so that NumPy can say them without a loop."""

from __future__ import annotations

import numpy as np
import pytest

from ipuc.codelets.define import Batch
from ipuc.codelets.max_pool_grad import MaxPoolGrad


@pytest.mark.parametrize("special", [1.0, np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("unordered", [False, True])
def test_a_gradient_that_is_not_finite_reaches_the_largest_element_alone(
    special: float, unordered: bool
) -> None:
    rng = np.random.default_rng(0)
    x = rng.permutation(3 * 2 * 5 * 4 * 6).reshape(3, 2, 5, 4, 6).astype(np.float32)
    if unordered:
        x[0, 0, 0, 1, 1] = np.nan  # a window's result is then not a number, and this element is it
    y = np.max(x.reshape(3, 2, 5, 2, 2, 3, 2), axis=(4, 6))
    dy = rng.standard_normal(y.shape).astype(np.float32)
    dy[1, 1, 2, 1, 1] = special
    windows = {"x": (2, 5, 4, 6), "y": (2, 5, 2, 3), "dy": (2, 5, 2, 3), "dx": (2, 5, 4, 6)}
    pool = MaxPoolGrad((2, 2), (2, 2), (1, 1), (0, 0), skip=(0, 0))
    found = pool.compute(Batch((3,), windows), x=x, y=y, dy=dy)["dx"]
    largest, back = (np.repeat(np.repeat(one, 2, -2), 2, -1) for one in (y, dy))
    wanted = np.where((x == largest) | np.isnan(x), back, 0)
    # Each element belongs to one window: nothing is added up, so nothing is rounded.
    np.testing.assert_array_equal(found, wanted)
