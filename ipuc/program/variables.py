"""Variables: flat typed memory, every element of which lives on one tile."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ipuc.errors import ProgramError
from ipuc.program.split import balanced_parts, bounds
from ipuc.types import Ints, Shape

#: PopLibs' linear mapping gives a tile at least this many bytes.
MIN_BYTES_PER_TILE = 128


@dataclass(frozen=True, slots=True)
class TileMapping:
    """Where the elements of a variable live.

    Attributes:
        starts: first element of each interval, ascending, the first 0: int64[k].
        tiles: the tile of each interval: int64[k].
    """

    starts: Ints
    tiles: Ints

    def tile_of(self, elements: Ints) -> Ints:
        """Tile of each element; any shape in, the same shape out."""
        return self.tiles[np.searchsorted(self.starts, elements, side="right") - 1]

    def tile_of_sorted(self, elements: NDArray[Any]) -> Ints:
        """Tile of each of many ascending elements: only the intervals are looked up."""
        first = np.searchsorted(elements, self.starts.astype(elements.dtype))
        return np.repeat(self.tiles, np.diff(first, append=elements.size))

    def lengths(self, size: int) -> Ints:
        """Elements in each interval, for a variable of `size` elements."""
        return np.diff(self.starts, append=size)

    def dense(self, size: int) -> Ints:
        """Tile of every element: int64[size]."""
        return np.repeat(self.tiles, self.lengths(size))

    @staticmethod
    def of_intervals(begins: Ints, tiles: Ints) -> TileMapping:
        """Make a mapping from intervals in any order, merging neighbours on one tile.

        Args:
            begins: first element of each interval; together they cover the variable, so that
                each interval ends where the next begins: int64[k].
            tiles: tile of each interval: int64[k].
        """
        order = np.argsort(begins, kind="stable")
        begins, tiles = begins[order], tiles[order]
        keep = np.ones(len(begins), bool)
        keep[1:] = tiles[1:] != tiles[:-1]
        return TileMapping(begins[keep], tiles[keep])


def linear_mapping(
    size: int, tiles: int, grain: int, itemsize: int = 4, first_tile: int = 0
) -> TileMapping:
    """Spread a variable over tiles in order, as `poputil::mapTensorLinearly` does.

    Args:
        size: elements.
        tiles: tiles that may be used.
        grain: elements that stay on one tile together.
        itemsize: bytes of an element, for the least bytes a tile gets.
        first_tile: where to begin.
    """
    parts = balanced_parts(size, tiles, grain, max(1, MIN_BYTES_PER_TILE // itemsize))
    starts = bounds(size, parts, grain)[:-1]
    return TileMapping(starts, np.arange(parts, dtype=np.int64) + first_tile)


@dataclass(slots=True, eq=False)
class Variable:
    """A one-dimensional typed array on the chip, with a shape for reading.

    Attributes:
        id: position in the program's list of variables.
        name: for people; the ONNX value it holds, where it holds one.
        dtype: element type that tiles carry.
        shape: extents in device layout order.
        mapping: which tile holds which element; None until somebody maps it.
        origin: the layer it belongs to.
        narrowed: it carries ONNX's 64-bit integers in 32 bits; a result that does not fit is an
            error, where a 32-bit integer would wrap.
    """

    id: int
    name: str
    dtype: str
    shape: Shape
    mapping: TileMapping | None = None
    origin: str = ""
    narrowed: bool = False
    size: int = field(init=False)

    def __post_init__(self) -> None:
        """Count the elements once."""
        self.size = math.prod(self.shape)

    @property
    def itemsize(self) -> int:
        """Bytes of one element."""
        return np.dtype(self.dtype).itemsize

    def mapped(self) -> TileMapping:
        """Give the mapping.

        Raises:
            ProgramError: nobody has mapped the variable.
        """
        if self.mapping is None:
            raise ProgramError(
                f'variable "{self.name}" is not mapped to any tile',
                where=self.origin,
                fix="map every element, for example with Builder.map_linear",
            )
        return self.mapping
