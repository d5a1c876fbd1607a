"""Views that pick positions of an axis: what a list of indices means without moving data."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ipuc.program.tensor import Tensor, concat
from ipuc.types import Ints


def progressions(indices: Sequence[int] | Ints) -> list[tuple[int, int, int]]:
    """Cut indices into arithmetic progressions: (first, step, count) of each, in order.

    Greedy: each progression takes as many indices as it can.
    """
    values = [int(i) for i in np.asarray(indices, np.int64).reshape(-1)]
    found: list[tuple[int, int, int]] = []
    at = 0
    while at < len(values):
        step = values[at + 1] - values[at] if at + 1 < len(values) else 1
        end = at + 1
        while end < len(values) and values[end] - values[end - 1] == step:
            end += 1
        # Two indices that begin nothing longer are worth as much apart: the second may begin
        # a progression of its own.
        if end - at == 2 and end < len(values) and abs(step) != 1:
            step, end = 1, at + 1
        found.append((values[at], step, end - at))
        at = end
    return found


def take(tensor: Tensor, axis: int, indices: Sequence[int] | Ints) -> Tensor:
    """View positions of one axis in any order, repeats allowed: one piece per progression.

    Args:
        tensor: what to view.
        axis: not negative.
        indices: positions within the axis, not negative.
    """
    parts = [_run(tensor, axis, *run) for run in progressions(indices)]
    if not parts:
        return tensor.slice(axis, 0, 0)
    return concat(parts, axis)


def _run(tensor: Tensor, axis: int, first: int, step: int, count: int) -> Tensor:
    if step:
        return tensor.slice(axis, first, first + step * count, step)
    shape = (*tensor.shape[:axis], count, *tensor.shape[axis + 1 :])
    return tensor.slice(axis, first, first + 1).expand(shape)
