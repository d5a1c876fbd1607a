"""Blocks of a large convolution: same numbers, less memory."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from ipuc.codelets import conv_blocks
from ipuc.codelets.conv_partial import ConvPartial
from ipuc.codelets.define import Array, Batch

WINDOWS = {"x": (3, 2, 8, 40, 42), "weights": (2, 6, 8, 3, 3), "out": (3, 2, 6, 38, 40)}


def convolve(into: Array | None = None, grid: tuple[int, ...] = (2,)) -> Array:
    """One family of two vertices that share their weights; whole numbers, so sums are exact.

    (Matrix libraries add the terms of very small products in another order. Blocks of real size
    are larger than that.)
    """
    draw = np.random.default_rng(0)
    x = draw.integers(-9, 10, (*grid, *WINDOWS["x"])).astype(np.float32)
    weights = draw.integers(-9, 10, (1, *WINDOWS["weights"])).astype(np.float32)
    shared = np.broadcast_to(weights, (*grid, *WINDOWS["weights"]))
    codelet = ConvPartial((1, 1), (1, 1), ((0, 0), (0, 0)))
    batch = Batch(grid, WINDOWS, into={} if into is None else {"out": into})
    return codelet.compute(batch, x=x, weights=shared)["out"]


@pytest.mark.parametrize("limit", [2_000_000, 300_000, 60_000, 1])
def test_blocks_change_no_bit(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """From a few images at a time down to single rows, into fresh memory and into given memory."""
    monkeypatch.setattr(conv_blocks, "COLUMN_BYTES", 1 << 40)
    whole = convolve()
    monkeypatch.setattr(conv_blocks, "COLUMN_BYTES", limit)
    np.testing.assert_array_equal(convolve(), whole)
    place = np.full((2, *WINDOWS["out"]), np.nan, np.float32)
    assert convolve(place) is place
    np.testing.assert_array_equal(place, whole)


def test_columns_are_never_all_there_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Columns of this family take 2 * 3 * 2 * 72 * 1520 * 4 = 5.3 MB, one image's a third."""
    place = np.empty((2, *WINDOWS["out"]), np.float32)
    # So much work that an image is done for itself only to save memory.
    monkeypatch.setattr(conv_blocks, "IMAGE_WORK", 1 << 40)

    def peak(limit: int) -> int:
        monkeypatch.setattr(conv_blocks, "COLUMN_BYTES", limit)
        tracemalloc.start()
        convolve(place)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    assert peak(1 << 40) - peak(500_000) > 3_000_000
