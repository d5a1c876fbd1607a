"""Cycles of convolution vertices that multiply without the matrix unit.

Source of every formula: PopLibs poplin PerformanceEstimation.hpp (2023).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ipuc.codelets.amp import row_time
from ipuc.codelets.cycles.amp import Block, Terms, zeroing
from ipuc.codelets.define import Number, ceil_div
from ipuc.target import Target


def dot(size: Number, itemsize: int, partial: int) -> Number:
    """Worker cycles of one dot product; for half results, of two at once."""
    vector = 8 // itemsize
    size = np.asarray(size)
    width = np.where(size % 2 == 0, 2, 1)
    if vector == 4:
        width = np.where(size % 4 == 0, 4, width)
    pair = 2 if partial < 4 else 1
    full = width == vector
    return (
        3 * pair
        + 4
        + (pair - 1)
        + pair * ~full
        + size // width * np.where(full, 1, 2)
        - (itemsize < 4)
    )


def horizontal(
    target: Target, block: Block, itemsize: int, partial: int, *, single: bool = False
) -> Terms:
    """ConvPartialHorizontalMac; `single` is its form for a kernel of one element, half to float."""
    workers, half, floats = target.worker_contexts, itemsize < 4, partial >= 4
    product = dot(block.in_group, itemsize, partial)
    chans = block.out_group if floats else ceil_div(block.out_group, 2)
    if single:
        saved, row, each = 15, 13, 7 + chans * product
        alone = np.asarray(block.out_group) == 1

        def cost(n: Any) -> Any:
            return np.where(alone, 14 + n * (2 + product), row + n * each)
    else:
        saved = 6 if half else 0

        def cost(n: Any) -> Any:
            return 19 + n * (7 + chans * product)

    slow, _ = row_time(block.rows, block.width, workers, cost)
    elements = block.kernel_elements
    inner = workers * (16 + elements * (16 - saved + slow))
    again = 15 if single else 0 if floats else 6
    zero = zeroing(target, block)
    if single:
        zero = np.where((block.in_groups == 1) & (block.out_group == 1), 0, zero)
    return Terms(
        start=(65 if half else 58)
        - 10 * single
        + workers * (9 if floats else 10)
        + workers * again,
        groups=block.groups,
        group=23,
        in_groups=block.in_groups,
        in_group=15,
        out_groups=block.out_groups,
        block=10 + inner,
        first=0,
        zero=zero,
    )


def vertical(target: Target, block: Block, bundle: Number, partial: int) -> Number:
    """ConvPartialVerticalMac: one output channel in each of `bundle` groups, half data."""
    workers, floats = target.worker_contexts, int(partial >= 4)
    bundle = np.asarray(bundle)
    row = block.kernel[-1]
    items_each = block.kernel_elements // row
    # One item for each output and kernel row; a worker takes its share of the outputs.
    items = ceil_div(block.rows * block.width, workers) * items_each
    big = bundle >= 8
    chain = np.where(big, 3 + 3 * (row - 1) * (bundle // 8), 3 + 2 * (row - 1) * (bundle // 4))
    eight = 3 + 3 * (row - 1)
    small = 18 + floats + items * (7 + (5 if floats else 3) + chain)
    large = np.where(bundle == 16, 25 + 2 * items * (22 + eight), 13 + items * (22 + eight))
    inner = workers * np.where(big, large, small)
    outputs = block.outputs * bundle
    width = 2 if floats else 4
    tail = 7 + 2 * floats + (2 if floats else 1) * (workers - 1)
    return (
        100
        + floats
        + block.groups
        * (
            4
            + ceil_div(outputs, width)
            + 32
            + block.in_groups * (24 + inner)
            + 10
            - floats
            + tail * ceil_div(outputs, workers) // bundle
        )
    )


def outer_product(target: Target, block: Block, itemsize: int) -> Number:
    """OuterProduct: one row of `width` elements times all output channels, split over workers."""
    workers = target.worker_contexts
    width = ceil_div(block.width, workers)
    c, count = np.asarray(block.out_group), block.groups * block.out_groups
    if itemsize >= 4:
        fast = 25 + count * (11 + width * (6 + (c - 6) // 2))
        time = np.where((c >= 6) & (c % 2 == 0), fast, 25 + count * (11 + width * (10 + 2 * c)))
    else:
        fast = 25 + count * (10 + width * (6 + (c - 12) // 4))
        slow = 25 + count * (10 + width * (10 + 5 * c // 2))
        time = np.where((c >= 12) & (c % 4 == 0), fast, slow)
    return workers * time


def slic(
    target: Target,
    block: Block,
    *,
    in_group: Number,
    bundle: Number,
    stride: int,
    partial: int,
) -> Number:
    """ConvPartial1xNSLIC: four kernel elements of a row for a bundle of small groups, half data.

    Args:
        target: the machine.
        block: the tile's work; `groups` counts bundles.
        in_group: channels of a group: 1, 2 or 4.
        bundle: groups done at once.
        stride: along a row, 1 or 2.
        partial: bytes of a partial sum.
    """
    workers, floats = target.worker_contexts, int(partial >= 4)
    halves = int(not floats)
    four = halves and target.conv_units_float16 == 16
    h8, passes = int(halves and not four), 1 if four else 2
    in_group, bundle = np.asarray(in_group), np.asarray(bundle)
    load = np.select([in_group == 4, in_group == 2], [34, 109], np.where(bundle > 4, 103, 97))
    threshold = 6 if h8 else 5

    def row(n: Any, first: int) -> Any:
        if stride == 1:
            short = 13 + (n > 1) if first else np.where(n == 1, 13, 17 + n)
            long = 10 + n + (0 if first else 3 * h8)
            time = np.where(n < threshold, short, long)
        else:
            time = np.where(n < 3, 13 if first else 15, 15 + 2 * (n - 3))
        return np.where(n > 0, 10 - h8 + first + 3 * floats + passes * (time - floats), 0)

    slow_zero, _ = row_time(block.rows, block.width, workers, lambda n: row(n, 1))
    slow, _ = row_time(block.rows, block.width, workers, lambda n: row(n, 0))
    start = 17 + 4 * (bundle > 4) + 2 * h8
    zero = workers * (start + slow_zero) + h8 * (2 + 2 * block.outputs)
    add = workers * (start + slow) * np.where(bundle > 4, bundle // 4, 1)
    body = load + (20 if not h8 else 16)
    body = np.where(bundle > 4, (load + 21) * (bundle // 4), body)
    subs = ceil_div(block.kernel[-1], 4) * (block.kernel_elements // block.kernel[-1])
    groups = block.groups
    return (
        (25 if h8 else 28)
        + (12 if h8 else 15) * groups
        + 6 * (groups - 1)
        + 1
        + subs * body
        + 6 * (subs - 1)
        + 1
        + groups * (zero + (subs - 1) * add)
    )
