"""Transforms change the operands' shapes, never what is computed, and never lose a multiply-add."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from poplin_cases import any_dims, apply, convolutions, operands, plain_dims

from ipuc.planner.poplin.params import (
    ConvParams,
    canonical,
    convolution,
    data_gradient,
    product,
    weight_gradient,
)
from ipuc.planner.poplin.transforms import (
    Transforms,
    choices,
    dilate_after,
    expanded,
    flattened,
    flattened_out,
    swapped,
    transformed,
)

seeds = st.integers(0, 100)


@settings(deadline=None, max_examples=100)
@given(convolutions(any_dims()), seeds)
def test_swapped_operands_give_the_same_numbers(params: ConvParams, seed: int) -> None:
    data, weights = operands(params, seed)
    params = canonical(params)
    made = apply(swapped(params), weights, data)
    np.testing.assert_array_equal(made.swapaxes(1, 2), apply(params, data, weights))


@settings(deadline=None, max_examples=60)
@given(convolutions(plain_dims(pads=False)), st.booleans())
def test_every_choice_keeps_outputs_and_multiply_adds(forward: ConvParams, weights: bool) -> None:
    # Without padding no zeros are multiplied, so that nothing may be saved.
    params = canonical(weight_gradient(forward) if weights else forward)
    outputs = params.batch * params.out_channels * params.groups * math.prod(params.out_field)
    for how in choices(params, (False, True)):
        made = transformed(params, how)
        assert made.batch * made.out_channels * made.groups * math.prod(made.out_field) == outputs
        assert made.macs >= params.macs


def test_expansion_is_im2col() -> None:
    params = convolution((6, 7), (3, 2), channels=(2, 5), batch=2, stride=(2, 1))
    made = expanded(params, (0, 1))
    assert made.in_channels == 2 * 3 * 2
    assert made.out_field == params.out_field
    assert all(dim.is_plain for dim in made.dims)
    assert made.macs == params.macs


def test_a_gradient_of_weights_becomes_one_product() -> None:
    forward = convolution((8, 8), (3, 3), channels=(16, 32), batch=4, pads=((1, 1), (1, 1)))
    params = canonical(weight_gradient(forward))
    made = flattened(canonical(expanded(params, (0, 1))))
    assert [dim.size for dim in made.dims] == [1, 16 * 9]
    assert (made.batch, made.in_channels, made.out_channels) == (1, 4 * 64, 32)
    turned = flattened_out(params, (0, 1))
    assert turned.out_channels == 32 * 9
    assert turned.macs == params.batch * 32 * 9 * params.in_channels * 64


def test_a_matrix_as_field_is_one_long_row() -> None:
    made = transformed(canonical(product(1, 9216, 4096)), Transforms(swap=True))
    assert [dim.size for dim in made.dims] == [1, 4096]
    assert (made.batch, made.in_channels, made.out_channels) == (1, 9216, 1)


def test_a_dilation_without_kernel_is_left_to_the_result() -> None:
    forward = convolution((8, 8), (1, 1), channels=(3, 5), stride=(2, 2))
    made, chosen = dilate_after(canonical(data_gradient(forward)))
    assert chosen == (0, 1)
    assert [dim.data.dilation for dim in made.dims] == [1, 1]
    padded = convolution((8, 8), (3, 3), channels=(3, 5), stride=(2, 2))
    assert dilate_after(canonical(data_gradient(padded)))[1] == ()
