"""Products of matrices against NumPy, and sums in halves against NumPy's own halves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ipuc.codelets.define import Batch
from ipuc.codelets.matmul_partial import MatMulPartial

Array = NDArray[Any]


def run(codelet: MatMulPartial, a: Array, b: Array) -> Array:
    """One vertex: a [*batch, m, k], b [*batch, k, n]."""
    windows = {"a": a.shape, "b": b.shape, "out": (*a.shape[:-1], b.shape[-1])}
    made = codelet.compute(Batch((1,), windows), a=a[None], b=b[None])["out"]
    return np.asarray(np.broadcast_to(made, (1, *windows["out"]))[0])


@pytest.mark.parametrize("method", ["AMP", "HMAC", "OUTER_PRODUCT"])
@pytest.mark.parametrize("partials", ["float32", "float16"])
@pytest.mark.parametrize("swap", [None, False, True])
def test_every_method_multiplies(method: str, partials: str, swap: bool | None) -> None:
    """Whole numbers: exact in any order, in halves too."""
    depth = 1 if method == "OUTER_PRODUCT" else 37
    draw = np.random.default_rng(0)
    a, b = (draw.integers(-4, 5, s).astype(np.float32) for s in ((2, 3, depth), (2, depth, 5)))
    found = run(MatMulPartial(method, partials, swap=swap), a, b)
    np.testing.assert_array_equal(found, a.astype(np.float64) @ b)


@pytest.mark.parametrize(
    ("codelet", "depth"),
    [
        (MatMulPartial("AMP", "float16"), 16),
        (MatMulPartial("AMP", "float16", in_group=4), 4),
        (MatMulPartial("HMAC", "float16", in_group=10), 10),
        (MatMulPartial("HMAC", "float16"), 60),
        (MatMulPartial("AMP", "float32"), 60),
    ],
)
def test_sums_in_halves_are_rounded_group_by_group(codelet: MatMulPartial, depth: int) -> None:
    """The sum of a group is taken in float64 here, in float32 there: few round to another half.

    A vertex that rounds at other places differs in most outputs.
    """
    random = np.random.default_rng(0)
    a, b = (random.normal(size=s).astype(np.float16) for s in ((20, 60), (60, 20)))
    total = np.zeros((20, 20), np.float16)
    for k in range(0, 60, depth):
        some = a[:, k : k + depth].astype(np.float64) @ b[k : k + depth]
        total = (total + some).astype(np.float16)
    found = run(codelet, a.astype(np.float32), b.astype(np.float32)).astype(np.float16)
    assert (found == total).mean() > 0.9
