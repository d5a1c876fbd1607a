"""The one split rule: part i of n grains in p parts begins at floor(i * n / p)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ipuc.types import Ints


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of one axis that have equal size: one family per combination of these.

    Attributes:
        index: part numbers, ascending.
        begin: first element of each part.
        size: elements in each of them.
    """

    index: Ints
    begin: Ints
    size: int

    def __len__(self) -> int:
        """Number of parts."""
        return len(self.index)


def bounds(total: int, parts: int, grain: int = 1) -> Ints:
    """Begins of all parts, and the end of the last: shape [parts + 1], in elements."""
    grains = -(-total // grain)
    edges = np.arange(parts + 1, dtype=np.int64) * grains // parts * grain
    return np.minimum(edges, total)


def split_axis(total: int, parts: int, grain: int = 1) -> list[Parts]:
    """Split an axis by the rule and group the parts by size (at most three groups).

    Args:
        total: elements on the axis.
        parts: number of parts; parts that get no grain are dropped.
        grain: elements that stay together; only the axis's last grain may be short.
    """
    edges = bounds(total, parts, grain)
    sizes = np.diff(edges)
    return [
        Parts(np.flatnonzero(sizes == size), edges[:-1][sizes == size], int(size))
        for size in np.unique(sizes)
        if size > 0
    ]


def balanced_parts(total: int, most: int, grain: int = 1, least: int = 1) -> int:
    """Fewest parts that keep the fullest part as small as `most` parts would.

    Source: PopLibs' splitRegions: grains per part = max(ceil(N / most), what `least` asks for).

    Args:
        total: elements on the axis.
        most: parts allowed.
        grain: elements that stay together.
        least: elements that a part should have at least.
    """
    grains = max(1, -(-total // grain))
    per = max(-(-grains // most), -(-grains // max(1, grains // -(-least // grain))))
    return -(-grains // per)
