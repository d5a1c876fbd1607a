"""Every operator computes in halves what it computes in float32, but for rounding.

The oracle is onnx.reference (onnxruntime where it declines) in float32, on inputs that halves hold
exactly, so that operators with steps (Floor, Equal, ArgMax...) meet the same values in both.
"""

from __future__ import annotations

import numpy as np
import pytest
from onnx_cases import Array
from op_problems import OPERATORS, problems, reference, runtime

from ipuc.backend import IpucBackend

#: The largest half, and a tolerance on the largest value of a result: a handful of roundings of
#: 2^-11 each. Normalisations and long functions round some times on their way.
LARGEST, TOLERANCE = 65504.0, 2.0**-7


def held(array: Array) -> Array:
    """Round floats to what halves hold."""
    if array.dtype != np.float32:
        return array
    return np.clip(array, -LARGEST, LARGEST).astype(np.float16).astype(np.float32)


@pytest.mark.parametrize("precision", ["mixed", "float16"])
@pytest.mark.parametrize("label", OPERATORS)
def test_in_halves(label: str, precision: str) -> None:
    compared = 0
    for case in problems(label, OPERATORS[label]):
        given = [held(array) for array in case.data_sets[0][0]]
        wanted = reference(case.model, given) or runtime(case.model, given)
        if wanted is None:
            continue
        rep = IpucBackend.prepare(case.model, target="tiny", precision=precision)
        found = rep.run(given)
        for ours, theirs in zip(found, wanted, strict=True):
            assert ours.dtype == theirs.dtype, case.name
            assert ours.shape == theirs.shape, case.name
            exact = theirs.astype(np.float64)
            fits = ~(np.abs(exact) > LARGEST)  # NaN fits; what is larger becomes infinite
            scale = np.abs(exact[np.isfinite(exact) & fits]).max(initial=0.0)
            np.testing.assert_allclose(
                ours.astype(np.float64)[fits],
                exact[fits],
                rtol=0,
                atol=TOLERANCE * scale if ours.dtype.kind == "f" else 0,
                err_msg=case.name,
            )
            compared += 1
    assert compared
