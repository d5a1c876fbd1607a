"""NumPy meanings of element functions that NumPy does not have; float32 in, float32 out."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.polynomial import chebyshev

from ipuc.codelets.define import Array

#: erf(4) rounds to 1 in float32.
_ERF_END = 4.0


def _erf_series(degree: int = 18) -> Array:
    """Chebyshev coefficients of erf(x) / x as a function of x * x on [0, 16]."""
    # Chebyshev's points lie inside the interval, so that x is never 0
    points = chebyshev.chebpts1(degree + 1)
    x = np.sqrt((points + 1.0) * (_ERF_END**2 / 2))
    ratio = np.array([math.erf(one) / one for one in x])
    return chebyshev.chebfit(points, ratio, degree).astype(np.float32)


_ERF = _erf_series()


def erf(x: Array) -> Array:
    """Error function, relative error below 4e-7 (measured against math.erf).

    Source: interpolation in Chebyshev's points, summed by Clenshaw's recurrence.
    """
    inside = np.clip(x, -_ERF_END, _ERF_END)
    u = inside * inside
    u *= 4.0 / _ERF_END**2
    u -= 2.0  # twice the position in [-1, 1]
    last, sum_ = np.zeros_like(u), np.full_like(u, _ERF[-1])
    for coefficient in _ERF[-2:0:-1]:
        last, sum_ = sum_, u * sum_ - last + coefficient
    return np.asarray(inside * (u * 0.5 * sum_ - last + _ERF[0]))


def sigmoid(x: Array) -> Any:
    """1 / (1 + exp(-x)) without overflow."""
    small = np.exp(-np.abs(x))
    return np.where(x >= 0, x.dtype.type(1), small) / (small + 1)


def softplus(x: Array) -> Any:
    """log(1 + exp(x)) without overflow."""
    return np.logaddexp(x.dtype.type(0), x)


def hard_sigmoid(x: Array, alpha: float, beta: float) -> Any:
    """A ramp from 0 to 1."""
    return np.clip(x * alpha + beta, 0, 1)


def elu(x: Array, alpha: float) -> Any:
    """Linear above 0, alpha * (exp(x) - 1) below."""
    return np.where(x < 0, alpha * np.expm1(x), x)


def selu(x: Array, alpha: float, gamma: float) -> Any:
    """A scaled Elu."""
    return gamma * elu(x, alpha)


def celu(x: Array, alpha: float) -> Any:
    """An Elu whose slope is continuous: max(0, x) + min(0, alpha * (exp(x / alpha) - 1))."""
    zero = x.dtype.type(0)
    return np.maximum(x, zero) + np.minimum(alpha * np.expm1(x / alpha), zero)


def gelu(x: Array) -> Any:
    """X times the probability that a normal variable is less."""
    return 0.5 * x * (1 + erf(x * math.sqrt(0.5)))


def gelu_tanh(x: Array) -> Any:
    """Gelu by its tanh approximation."""
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)))


def shrink(x: Array, bias: float, limit: float) -> Any:
    """Move towards 0 by bias what is beyond the limit, the rest to 0."""
    return np.where(x < -limit, x + bias, np.where(x > limit, x - bias, x.dtype.type(0)))


def is_infinite(x: Array, negative: float, positive: float) -> Any:
    """Whether an element is an infinity of a sign that counts."""
    return np.isinf(x) & np.where(x < 0, bool(negative), bool(positive))


def integer_power(base: Array, exponent: Array) -> Array:
    """Base ** exponent of whole numbers, rounded towards zero for negative exponents."""
    power = np.power(base, np.maximum(exponent, 0))
    if exponent.dtype.kind == "u":
        return np.asarray(power)
    # 1 ** -n = 1 and (-1) ** -n = +-1; the inverse of anything larger is rounded to 0
    odd = np.where(exponent % 2 == 1, base, base * base)
    return np.where(exponent >= 0, power, np.where(abs(base) == 1, odd, base.dtype.type(0)))


def power(base: Array, exponent: Array) -> Array:
    """Base ** exponent in the base's type, whatever the exponent's."""
    if base.dtype.kind in "iu" and exponent.dtype.kind in "iu":
        return integer_power(base, exponent)
    # NumPy squares, inverts or takes a root where it sees one exponent for a whole row, which
    # rounds differently: laid out in full, a result does not depend on how vertices are batched.
    full = np.broadcast_to(exponent, np.broadcast_shapes(base.shape, exponent.shape)).copy()
    return np.asarray(np.power(base, full)).astype(base.dtype)


def divide(a: Array, b: Array) -> Any:
    """A / b; whole numbers are rounded towards zero, as C does."""
    if a.dtype.kind not in "iu":
        return np.divide(a, b)
    quotient = np.floor_divide(a, b)
    return quotient + ((quotient * b != a) & ((a < 0) != (b < 0)))
