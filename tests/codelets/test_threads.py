"""Products shared out over threads, against NumPy in float64."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ipuc.codelets import threads

extents = st.integers(1, 7)


@pytest.fixture(autouse=True)
def always_split(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "WORTH_SPLITTING", 0)
    monkeypatch.setattr(threads, "cores", lambda: 3)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    batch=st.lists(extents, max_size=2),
    shared=st.sampled_from(["neither", "left", "right"]),
    m=extents,
    k=extents,
    n=extents,
    given_out=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_a_product_in_parts_is_the_product(
    batch: list[int], shared: str, m: int, k: int, n: int, given_out: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    one = [1] * len(batch)
    left = rng.standard_normal((*(one if shared == "left" else batch), m, k)).astype("f")
    right = rng.standard_normal((*(one if shared == "right" else batch), k, n)).astype("f")
    out = np.full((*batch, m, n), np.nan, np.float32) if given_out else None
    found = threads.multiply(left, right, out)
    assert out is None or found is out
    wanted = np.matmul(left.astype(np.float64), right.astype(np.float64))
    # float32 dot products of at most 7 terms of order 1
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5)
    assert found.dtype == np.float32
    assert found.shape == wanted.shape


def test_strided_operands_are_read_where_they_lie() -> None:
    rng = np.random.default_rng(0)
    left = rng.standard_normal((5, 8, 6)).astype("f")[:, ::2, ::-1]
    right = rng.standard_normal((7, 6)).astype("f").T
    wanted = np.einsum("bik,kj->bij", left, right, dtype=np.float64)
    np.testing.assert_allclose(threads.multiply(left, right), wanted, rtol=0, atol=1e-5)
