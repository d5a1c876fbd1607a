"""A sample of a vertex graph for quick pictures: all vertices, fewer regions of large variables.

Nodes and edges of the sample are the program's; a region that is kept has all its edges. Most nodes
of a large graph are pieces of few large variables, the weights of fully connected layers above all,
and one in some tens of these shows what all of them show.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ipuc.types import Ints

#: Golden ratio less one: multiples of it, modulo 1, are spread evenly.
_GOLDEN = 0.6180339887498949


@dataclass(frozen=True, slots=True)
class Sample:
    """Some regions of a vertex graph.

    Attributes:
        keep: which regions: bool[regions].
        stands: regions of the graph for each one that is kept: float32[kept].
    """

    keep: NDArray[np.bool_]
    stands: NDArray[np.float32]


def sample_of(first_region: Ints, most: int) -> Sample:
    """Choose at most `most` regions; variables of few regions keep all.

    Args:
        first_region: number of each variable's first region, and the total; see `VertexGraph`.
        most: regions to keep.
    """
    regions = np.diff(first_region)
    cap = _cap(regions, most)
    keep = np.ones(int(first_region[-1]), bool)
    kept = regions.copy()
    for variable in np.flatnonzero(regions > cap).tolist():
        here = keep[int(first_region[variable]) : int(first_region[variable + 1])]
        here[:] = False
        here[_spread(here.size, cap)] = True
        kept[variable] = cap
    stands = np.repeat(regions / np.maximum(kept, 1), kept)
    return Sample(keep, stands.astype(np.float32))


def _cap(sizes: Ints, most: int) -> int:
    """The most that each may have, for all to have `most` together: at least 1."""
    left, number = most, sizes.size
    for at, one in enumerate(np.sort(sizes).tolist()):
        if one * (number - at) > left:
            return max(left // (number - at), 1)
        left -= one
    return int(sizes.max(initial=1))


def _spread(count: int, wanted: int) -> Ints:
    """Choose `wanted` numbers under `count`: one of each equal stretch, at varying places.

    Equal steps would meet the rows of a matrix at the same columns.
    """
    number = np.arange(wanted)
    begin, end = number * count // wanted, (number + 1) * count // wanted
    place: Ints = begin + ((number + 0.5) * _GOLDEN % 1 * (end - begin)).astype(np.int64)
    return place
