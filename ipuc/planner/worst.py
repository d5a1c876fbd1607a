"""The sizes that a split really makes, and the dearest tile among their combinations.

Rounding every size up does not find the dearest tile: cycles are no monotone function of sizes (15
outputs in 3 rows keep six workers busier with row ends than 18 do). So candidates are ranked by
the cost of the fullest tile, which is a lower bound, and those that may win are costed exactly.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ipuc.types import Ints

#: Gives cycles for columns of sizes, one column for each dimension.
Cycles = Callable[[Sequence[Any]], Any]


def part_sizes(total: int, parts: int | Ints, grain: int = 1) -> Ints:
    """Every size of the parts of an axis: int64[3, ...], repeated where there are fewer.

    Args:
        total: elements on the axis.
        parts: numbers of parts, none more than there are grains.
        grain: elements that stay together; the axis's last grain may be short.
    """
    parts = np.asarray(parts, np.int64)
    grains = -(-total // grain)
    full = -(-grains // parts) * grain
    last = full - (grains * grain - total)
    several = parts > 1
    least = np.where(several, grains // parts * grain, last)
    # by the split rule the last part is a large one; it is the only one if one grain is left over
    often = np.where(several & (grains % parts != 1), full, last)
    return np.stack([last, least, often])


def fullest(total: int, parts: Ints, grain: int = 1) -> Ints:
    """Elements of the largest part, for each number of parts."""
    most: Ints = part_sizes(total, parts, grain).max(axis=0)
    return most


def dearest(sizes: Sequence[Ints], cycles: Cycles) -> NDArray[Any]:
    """Most cycles over all combinations of sizes: [...], for sizes [k, ...] of each dimension."""
    distinct = [np.unique(size, axis=0) for size in sizes]
    choices = np.array(list(itertools.product(*(range(len(size)) for size in distinct))))
    columns = [size[choices[:, d]] for d, size in enumerate(distinct)]
    most: NDArray[Any] = np.asarray(cycles(columns)).max(axis=0)
    return most
