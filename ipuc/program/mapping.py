"""Map variables by use: an element lives where it is made, or else where it is read."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ipuc.program.family import Access, VertexFamily
from ipuc.program.operand import scatter
from ipuc.program.variables import MIN_BYTES_PER_TILE, TileMapping, Variable, linear_mapping

Tiles = NDArray[np.int32]
Use = tuple[VertexFamily, Access]

#: Contiguous runs of fewer bytes than this scatter a value: every tile that reads it has
#: instructions for each run, and so has the tile that sends it. PopLibs' linear mapping makes no
#: shorter ones; measured on ResNet-50, AlexNet and VGG-19 it is better than half, and as good as
#: twice as much.
RUN_BYTES = MIN_BYTES_PER_TILE
#: A scattered value that is read this often is sent home in order first, once.
OFTEN = 4


def map_by_use(
    variables: Iterable[Variable],
    compute_sets: Iterable[Sequence[VertexFamily]],
    tiles: int,
    first_tiles: Sequence[int] = (),
) -> None:
    """Map every unmapped variable.

    An element that a vertex writes lives on the tile of the first vertex that does; but what is
    made in short runs, and read on many tiles, is spread in order, as each of those would have
    instructions for every run. Results of the matrix unit stay: they are added up next. Any other
    element (weights, inputs, copies) lives on one of the tiles that read it first, spread evenly
    over those that share it, so that 1/sharers of it is local everywhere, as PopLibs'
    TensorUseTracker does. Families of one compute set that read the same blocks share them, be
    their own parts large or small.
    What nobody touches is spread in order.

    Args:
        variables: all of the program.
        compute_sets: families of all of the program's, in the order in which they run.
        tiles: tiles of one IPU.
        first_tiles: by variable id, the first tile of the IPU over which a variable is spread
            that nobody touches; 0 if empty.
    """
    wanted = {variable.id: variable for variable in variables if variable.mapping is None}
    writers: dict[int, list[Use]] = {}
    readers: dict[int, list[list[Use]]] = {}
    for families in compute_sets:
        alike: dict[Any, list[Use]] = {}
        for family in families:
            for spec in family.codelet.fields:
                access = family.fields[spec.name]
                if access.variable not in wanted:
                    continue
                if spec.writes:
                    writers.setdefault(access.variable, []).append((family, access))
                    continue
                uses = alike.setdefault(_blocks(access), [])
                if not uses:
                    readers.setdefault(access.variable, []).append(uses)
                uses.append((family, access))
    for id_, variable in wanted.items():
        owner = np.full(variable.size, -1, np.int32)
        for uses in reversed(readers.get(id_, [])):
            _spread(owner, uses)
        for family, access in reversed(writers.get(id_, [])):
            window = (1,) * len(access.shape)
            scatter(access, owner, family.tile.dense().reshape((*family.grid, *window)))
        first = first_tiles[id_] if first_tiles else 0
        variable.mapping = _encode(owner, variable, tiles, first)
        read = [use for uses in readers.get(id_, []) for use in uses]
        if _scattered(variable, writers.get(id_, []), read, tiles):
            home = int(variable.mapping.tiles[0]) // tiles * tiles
            grain = max(1, 8 // variable.itemsize)
            variable.mapping = linear_mapping(variable.size, tiles, grain, variable.itemsize, home)


def _scattered(variable: Variable, made: Sequence[Use], read: Sequence[Use], tiles: int) -> bool:
    """Whether a value made in short runs is worth sending home in order."""
    runs = len(variable.mapped().starts)
    if not made or runs <= tiles or runs * RUN_BYTES <= variable.size * variable.itemsize:
        return False
    if any(family.codelet.on_matrix_unit for family, _ in made):
        return False
    touched = sum(family.count * math.prod(access.shape) for family, access in read)
    return touched >= OFTEN * variable.size


def _blocks(access: Access) -> Any:
    """What tells blocks of elements apart: equal for accesses that differ in sharers only."""
    offset = access.offset
    if offset.explicit is not None:
        return id(access)
    base, tables = offset.base, []
    for shared, table in zip(offset.shared_axes(), offset.tables, strict=True):
        if shared:
            base += int(table[0])
        else:
            tables.append(table.tobytes())
    return access.variable, base, tuple(tables), access.shape, access.strides


def _spread(owner: Tiles, uses: Sequence[Use]) -> None:
    """Give each element of a block to one of the vertices that share it, in equal runs.

    Args:
        owner: tile of every element, filled in.
        uses: families with equal blocks.
    """
    family, access = uses[0]
    shared = access.offset.shared_axes()
    if len(uses) == 1 and all(not s or n == 1 for s, n in zip(shared, family.grid, strict=True)):
        window = (1,) * len(access.shape)
        tiles = family.tile.dense().astype(np.int32)
        scatter(access, owner, tiles.reshape((*family.grid, *window)))
        return
    by_sharer = np.concatenate([_sharers(*use) for use in uses], axis=-1)
    own = by_sharer.shape[:-1]
    size = int(np.prod(access.shape))
    sharer = np.arange(size, dtype=np.int64) * by_sharer.shape[-1] // max(size, 1)
    tile = by_sharer[..., sharer].reshape((*own, *access.shape))
    grid = [1 if s else n for n, s in zip(family.grid, shared, strict=True)]
    first = access
    for axis, is_shared in enumerate(shared):
        if is_shared:
            first = first.slice(axis, 0)
    scatter(first, owner, tile.reshape((*grid, *access.shape)))


def _sharers(family: VertexFamily, access: Access) -> Tiles:
    """Tiles that read each block: int32[*blocks, sharers]."""
    shared = access.offset.shared_axes()
    order = [a for a, s in enumerate(shared) if not s] + [a for a, s in enumerate(shared) if s]
    own = [n for n, s in zip(family.grid, shared, strict=True) if not s]
    dense = family.tile.dense().astype(np.int32)
    return np.transpose(dense, order).reshape(*own, -1)


def _encode(owner: Tiles, variable: Variable, tiles: int, first_tile: int) -> TileMapping:
    untouched = np.flatnonzero(owner < 0)
    if len(untouched) == variable.size:
        grain = max(1, 8 // variable.itemsize)
        return linear_mapping(variable.size, tiles, grain, variable.itemsize, first_tile)
    if len(untouched):
        # A hole joins the interval before it; a hole at the begin joins the first one.
        known = np.where(owner >= 0, np.arange(variable.size), 0)
        np.maximum.accumulate(known, out=known)
        owner = owner[known]
        owner[: np.argmax(owner >= 0)] = owner[np.argmax(owner >= 0)]
    changes = np.flatnonzero(owner[1:] != owner[:-1]) + 1
    starts = np.concatenate([[0], changes]).astype(np.int64)
    return TileMapping(starts, owner[starts].astype(np.int64))
