"""Parameters mean what NumPy's sliding windows compute; whole numbers, so equality is exact."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from poplin_cases import any_dims, apply, convolutions, operands, plain_dims

from ipuc.errors import ShapeError
from ipuc.planner.poplin.params import (
    ConvParams,
    Dim,
    Reach,
    Yield,
    canonical,
    convolution,
    data_gradient,
    product,
    weight_gradient,
)

seeds = st.integers(0, 100)


@settings(deadline=None, max_examples=150)
@given(convolutions(any_dims()), seeds)
def test_canonical_form_computes_the_same(params: ConvParams, seed: int) -> None:
    data, weights = operands(params, seed)
    want = apply(params, data, weights)
    assert want.shape[3:] == params.out_field
    made = canonical(params)
    np.testing.assert_array_equal(apply(made, data, weights), want)
    assert made.out_field == params.out_field
    assert made.macs <= params.macs or made == params


@settings(deadline=None, max_examples=150)
@given(convolutions(any_dims()))
def test_canonical_form_is_its_own(params: ConvParams) -> None:
    made = canonical(params)
    assert canonical(made) == made


def test_canonical_form_of_a_gradient_with_stride_has_known_zeros() -> None:
    # 4 outputs of stride 2 and a kernel of 1 on 8 inputs: the last input gets no gradient.
    forward = convolution((8, 8), (1, 1), channels=(3, 5), stride=(2, 2))
    dim = canonical(data_gradient(forward)).dims[0]
    assert dim.data == Reach(dilation=2)
    assert dim.result == Yield(pad=(0, 1))


def test_canonical_form_forgets_unread_inputs_and_idle_strides() -> None:
    forward = convolution((9, 9), (3, 3), channels=(1, 1), stride=(7, 7), pads=((0, 0), (1, 1)))
    assert canonical(forward).dims == (
        Dim(9, 3, Reach(trunc=(0, 6))),
        Dim(9, 3, Reach(trunc=(0, 0), pad=(1, 0)), result=Yield(stride=7)),
    )


@settings(deadline=None, max_examples=100)
@given(convolutions(plain_dims()), seeds)
def test_gradients_are_adjoint_to_the_convolution(forward: ConvParams, seed: int) -> None:
    data, weights = operands(forward, seed)
    out = apply(forward, data, weights)
    delta = np.random.default_rng(seed + 1).integers(-4, 5, out.shape).astype(np.float64)
    want = float((delta * out).sum())
    turned = weights.swapaxes(1, 2)[..., ::-1, ::-1]
    back = apply(data_gradient(forward), delta, turned)
    assert back.shape == data.shape
    assert float((back * data).sum()) == want
    change = apply(weight_gradient(forward), data.swapaxes(1, 2), delta.swapaxes(1, 2))
    assert change.swapaxes(1, 2).shape == weights.shape
    assert float((change.swapaxes(1, 2) * weights).sum()) == want


def test_product_is_a_convolution_of_one_pixel() -> None:
    params = product(3, 4, 5, groups=2)
    data, weights = operands(params, 0)
    left, right = data[..., 0, 0], weights[..., 0, 0]
    np.testing.assert_array_equal(
        apply(params, data, weights)[..., 0, 0], left @ right.swapaxes(1, 2)
    )
    assert params.macs == 2 * 3 * 4 * 5


def test_a_kernel_larger_than_the_field_is_refused() -> None:
    with pytest.raises(ShapeError, match="larger than the padded field"):
        convolution((2, 2), (3, 3), channels=(1, 1))
    with pytest.raises(ShapeError, match="at least one"):
        product(0, 1, 1)
