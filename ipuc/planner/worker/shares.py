"""Elements that are spread over the tiles in units, and split over the workers of each tile.

Every tile gets ceil(units / tiles) units, so that the last may get fewer and some none. Of n
elements on a tile each of the W workers gets m = ceil(n / W), in ceil(n / m) vertices.
Source: rules read in the public history of Graphcore's PopLibs, winter 2016/17.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ipuc.program.family import IndexMap, separable
from ipuc.target import Target
from ipuc.types import Ints


@dataclass(frozen=True, slots=True)
class Share:
    """Vertices of equal size, on a grid of tiles and of a tile's workers.

    Attributes:
        tile: tile of each position of the first axis.
        first: first element on each of those tiles.
        begin: where each vertex of a tile begins, counted from there.
        size: elements of a vertex.
    """

    tile: Ints
    first: Ints
    begin: Ints
    size: int

    def begins(self) -> list[Ints]:
        """First element of every vertex, as a table for each grid axis."""
        return [self.first, self.begin]

    def tiles(self) -> IndexMap:
        """Tile of every vertex."""
        return separable(0, self.tile, np.zeros_like(self.begin))


def tile_of(target: Target, elements: Ints, count: int, unit: int) -> Ints:
    """Tile of each of some elements of `count` that are spread in units."""
    units = -(-count // unit)
    return elements // (max(1, -(-units // target.tiles)) * unit)


def shares(target: Target, count: int, unit: int) -> Iterator[Share]:
    """Split elements over tiles and their workers.

    Args:
        target: the machine.
        count: elements.
        unit: elements that stay on one tile together; workers may share them.
    """
    units = -(-count // unit)
    each = max(1, -(-units // target.tiles)) * unit
    full = count // each
    spread = [(np.arange(full, dtype=np.int64), each)]
    spread.append((np.array([full], np.int64), count - full * each))
    for tile, elements in spread:
        if not len(tile) or not elements:
            continue
        most = -(-elements // target.worker_contexts)
        begins = np.arange(elements // most, dtype=np.int64) * most
        yield Share(tile, tile * each, begins, most)
        if elements % most:
            yield Share(tile, tile * each, np.array([elements - elements % most]), elements % most)
