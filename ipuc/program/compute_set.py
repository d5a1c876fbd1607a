"""A compute set while it is being filled."""

from __future__ import annotations

from collections.abc import Sequence as Items
from dataclasses import dataclass, field, replace

import numpy as np

from ipuc.codelets.define import Codelet
from ipuc.errors import ProgramError
from ipuc.program.family import Access, IndexMap, Origin, VertexFamily, Workers, separable
from ipuc.program.tensor import Tensor, View, coalesce
from ipuc.types import Shape


@dataclass(slots=True)
class ComputeSetBuilder:
    """A compute set being filled.

    Attributes:
        name: for reports and errors.
        workers: "all" or "one": which workers of a tile run a vertex that is added from now on.
        first_tile: the machine's number of the tile that is called 0 here.
        families: what has been added.
    """

    name: str
    origins: tuple[Origin, ...]
    workers: Workers = "all"
    first_tile: int = 0
    families: list[VertexFamily] = field(default_factory=list)

    def add(
        self, codelet: Codelet, tile: IndexMap | Items[int] | int, **fields: Access | Tensor
    ) -> VertexFamily:
        """Add vertices of one codelet.

        Args:
            codelet: the vertex type.
            tile: tile of every vertex; a list is one grid axis, a number a single vertex.
            **fields: an access for every field of the codelet, all on one grid; or a tensor,
                the whole of which every vertex reaches.

        Raises:
            ProgramError: a field is missing or unknown, grids differ, or a tensor is no single
                strided view.
        """
        if isinstance(tile, int):
            tile = [tile]
        where = tile if isinstance(tile, IndexMap) else separable(0, list(tile))
        where = replace(where, base=where.base + self.first_tile)
        reached = {
            name: given if isinstance(given, Access) else _whole(given, where.grid)
            for name, given in fields.items()
        }
        family = VertexFamily(codelet, where.grid, where, reached, self.origins, self.workers)
        self.families.append(family)
        return family


def one_view(tensor: Tensor) -> View:
    """The only view of a tensor.

    Raises:
        ProgramError: the tensor joins several variables or holds a constant fill.
    """
    view = tensor.view()
    if view is None:
        raise ProgramError(
            f"a tensor of {len(tensor.pieces)} pieces cannot be one field",
            fix="materialise it (Builder.copy), or add a family for each piece",
        )
    return view


def _whole(tensor: Tensor, grid: Shape) -> Access:
    """The whole of a tensor, for every vertex of a grid."""
    view = one_view(tensor)
    axes = [coalesce(axis) or ((1, 0),) for axis in view.axes]
    if any(len(axis) != 1 for axis in axes):
        raise ProgramError(
            "an axis of this tensor is not one run", fix="materialise it first (Builder.solid)"
        )
    offset = separable(view.offset, *(np.zeros(n, np.int64) for n in grid))
    return Access(view.variable, offset, tensor.shape, tuple(axis[0][1] for axis in axes))
