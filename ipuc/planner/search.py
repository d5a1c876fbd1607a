"""Candidate splits as columns of a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ipuc.types import Ints


def useful_splits(grains: int, most: int) -> Ints:
    """Smallest split for each size of the fullest part: the only ones worth trying."""
    splits = np.arange(1, min(grains, most) + 1, dtype=np.int64)
    sizes = -(-grains // splits)
    keep = np.ones(len(splits), bool)
    keep[1:] = sizes[1:] != sizes[:-1]
    return splits[keep]


def candidates(grains: Sequence[int], most: int, limits: Sequence[int] | None = None) -> Ints:
    """Every combination of useful splits whose product is at most `most`.

    Args:
        grains: indivisible pieces on each dimension.
        most: tiles.
        limits: largest split allowed on each dimension.

    Returns:
        int64[rows, dims], built dimension by dimension so that no oversized table exists.
    """
    table = np.ones((1, 0), np.int64)
    used = np.ones(1, np.int64)
    for dim, count in enumerate(grains):
        limit = most if limits is None else min(most, limits[dim])
        options = useful_splits(max(count, 1), limit)
        product = used[:, None] * options[None, :]
        rows, columns = np.nonzero(product <= most)
        table = np.concatenate([table[rows], options[columns, None]], axis=1)
        used = product[rows, columns]
    return table


def rank(keys: Sequence[NDArray[Any]]) -> Ints:
    """Row numbers in order of the keys, the first key deciding first."""
    return np.lexsort(tuple(reversed([np.asarray(key) for key in keys])))
