"""Sums that the matrix unit keeps in halves: rounded after each of its accumulations."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from ipuc.codelets.define import Array, Batch


def groups(depth: int, size: int) -> Iterator[slice]:
    """Input channels, or elements of a dot product, in the order and number they are taken in."""
    for begin in range(0, depth, size):
        yield slice(begin, begin + size)


def accumulate(batch: Batch, name: str, products: Iterable[Array]) -> Array:
    """Add products to a field of halves, one after the other, rounding each time.

    Args:
        batch: knows how to round.
        name: of the field.
        products: float32, all of one shape.

    Returns:
        Halves, as float32.
    """
    total: Array = np.zeros((), np.float32)
    for number, product in enumerate(products, 1):
        total = batch.rounded(name, total + product, number)
    return total
