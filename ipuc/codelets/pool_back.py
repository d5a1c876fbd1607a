"""What the gradients of poolings have in common: the region that some windows reach, and back.

Places along a dimension are counted from where the first of the block's windows begins. Window o
has its kernel element k at place o * stride + k * dilation.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ipuc.codelets.amp import as_cycles
from ipuc.codelets.cycles.pool import gradient_meets, row_pieces, vertex
from ipuc.codelets.define import Array, Codelet, FreeAxis, Number
from ipuc.codelets.pool import shifted
from ipuc.target import Target
from ipuc.types import Shape


@dataclass(frozen=True)
class PoolBack(Codelet):
    """A vertex that writes the gradient of a block of a pooling's input.

    Attributes:
        kernel: window extents.
        stride: between outputs.
        dilation: between window elements.
        lead: place of the block's first element, per dimension; negative if no window of the
            block begins as early.
        group: channels that lie together on the tile.
    """

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    lead: tuple[int, ...]
    group: int = 16

    loop: ClassVar[str]

    def region(self, outs: Shape, own: Shape) -> tuple[Shape, Shape]:
        """First place and extent of the region that holds all windows and the block itself.

        Args:
            outs: windows along each field dimension.
            own: elements of the block.
        """
        low = tuple(min(0, lead) for lead in self.lead)
        geometry = zip(outs, self.stride, self.kernel, self.dilation, strict=True)
        ends = [(n - 1) * s + (k - 1) * d + 1 for n, s, k, d in geometry]
        ends = [max(e, at + n) for e, at, n in zip(ends, self.lead, own, strict=True)]
        return low, tuple(e - begin for e, begin in zip(ends, low, strict=True))

    def positions(self, low: Shape, outs: Shape) -> Iterator[tuple[int, ...]]:
        """Where in the region each kernel position of the first window lies, in window order."""
        if 0 not in outs:
            for place in itertools.product(*(range(k) for k in self.kernel)):
                at = zip(place, self.dilation, low, strict=True)
                yield tuple(p * d - begin for p, d, begin in at)

    def spread(self, region: Array, outs: Shape, start: tuple[int, ...]) -> Array:
        """The element of the region that each window has at one kernel position: a view."""
        return shifted(region, outs, start, self.stride)

    def block(self, region: Array, low: Shape, own: Shape) -> Array:
        """The block's part of a region: a view."""
        lead = (slice(None),) * (region.ndim - len(own))
        begins = [at - begin for at, begin in zip(self.lead, low, strict=True)]
        return region[(*lead, *(slice(b, b + n) for b, n in zip(begins, own, strict=True)))]

    def backward_cycles(
        self, target: Target, own: tuple[Number, ...], outs: tuple[Number, ...], itemsize: int
    ) -> Any:
        """Cycles of popnn's vertex for a block [batch, channels, *own]."""
        batch, channels, *sizes = own
        geometry = zip(sizes, self.kernel, self.stride, self.dilation, self.lead, outs, strict=True)
        made = vertex(
            target,
            self.loop,
            batch=batch,
            channels=channels,
            group=self.group,
            sizes=sizes,
            meets=[gradient_meets(*dim) for dim in geometry],
            itemsize=itemsize,
        )
        return as_cycles(made)

    def row_pieces(self, windows: Mapping[str, Shape], workers: int, itemsize: int) -> int:
        """One list for each row piece, with an entry for each kernel position."""
        del itemsize
        return row_pieces(windows["dx"], self.kernel, workers)


def lead_axes(names: tuple[str, ...]) -> tuple[FreeAxis, ...]:
    """Images and channels, along which vertices may be joined."""
    return tuple(FreeAxis(dict.fromkeys(names, axis)) for axis in (0, 1))


def empty(like: Array, extents: Shape) -> Array:
    """Zeros for a region, with the leading axes and the type of an operand; see `inside`."""
    dims = len(extents)
    lead = like.shape[: like.ndim - dims]
    return np.moveaxis(np.zeros((*extents, *lead), like.dtype), range(dims), range(-dims, 0))


def inside(operand: Array, dims: int) -> Array:
    """A copy with vertices, images and channels innermost in memory.

    Rows of a block are short. Array operations are quick where what they do alike is long.

    Args:
        operand: [..., *field].
        dims: field dimensions.
    """
    field = range(-dims, 0)
    moved = np.ascontiguousarray(np.moveaxis(operand, field, range(dims)))
    return np.moveaxis(moved, range(dims), field)
