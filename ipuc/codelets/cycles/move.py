"""Cycles of what surrounds a convolution vertex: reduction, casts, slices, additions in place.

Source of every formula: PopLibs, files named at each.
"""

from __future__ import annotations

import functools

import numpy as np

from ipuc.codelets.define import Number, ceil_div
from ipuc.target import Target
from ipuc.types import Ints


def reduce_add(target: Target, outputs: Number, depth: Number, *, partial: int, out: int) -> Number:
    """ReduceAdd of `depth` vectors of partial sums, multi input.

    Source: poplin PerformanceEstimation.hpp. The blocks left over by the workers cost a round, or
    the last elements their own code.
    """
    workers = target.worker_contexts
    vector = 4 if partial >= 4 else 8
    outputs, depth = np.asarray(outputs), np.asarray(depth)
    rest = outputs % vector
    blocks = outputs // vector + np.bitwise_count(rest).astype(np.int64)
    uneven = blocks % workers != 0
    odd = rest != 0
    start = 32 + (2 * depth + (13 if partial >= 4 else 11)) * (uneven & odd)
    rounds = blocks // workers + (uneven & ~odd)
    extra = (7 if partial >= 4 else 9) - (out < 4)
    return workers * (start + rounds * (3 * depth + extra))


def cast(target: Target, outputs: Number, from_size: int, to_size: int) -> Number:
    """Cast of partial sums to the result's type; source: poplin ConvModel.cpp."""
    each = ceil_div(outputs, target.worker_contexts)
    load = ceil_div(each, target.vector_width(from_size))
    store = ceil_div(each, target.vector_width(to_size))
    return target.worker_contexts * (np.maximum(load, store) + 26)


def dynamic_slice(target: Target, elements: Number, parts: Number, itemsize: int) -> Number:
    """One slice of `parts` of a tile's elements; source: popops, DynamicSlice1D."""
    workers, vector = target.worker_contexts, target.vector_width(itemsize)
    each = ceil_div(ceil_div(elements, parts), workers)
    return 25 + workers * (39 + 24 + 2 * (each // vector))


def scaled_add(target: Target, elements: Number, itemsize: int) -> Number:
    """A += scale * B, one type; source: popopsCycleEstimators.cpp."""
    workers, vector = target.worker_contexts, target.vector_width(itemsize)
    return 57 + workers * (25 + 3 * ceil_div(elements // vector, workers))


@functools.cache
def reduction_stages(most: int) -> Ints:
    """Depth of each reduction stage, for every number of partial sums up to `most`.

    Returns:
        int64[most + 1, 3]; 1 where there is no such stage.

    Source: poplin ConvReducePlan.cpp: below 16 one stage, below 125 two, else three; stages of
    about equal depth, rounded so that their sum is small.
    """
    table = np.ones((most + 1, 3), np.int64)
    for depth in range(2, most + 1):
        if depth < 16:
            table[depth, 0] = depth
        elif depth < 125:
            table[depth, :2] = _two(depth)
        else:
            root = int(depth ** (2 / 3))
            tries = [(-(-depth // middle), *_two(middle)) for middle in (root, root + 1)]
            table[depth] = min(tries, key=sum)
    return table


def _two(depth: int) -> tuple[int, int]:
    root = int(depth**0.5)
    return min(((-(-depth // middle), middle) for middle in (root, root + 1)), key=sum)
