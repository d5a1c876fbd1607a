"""Plans of poolings and of their gradients: splits of images, channels and field, not of windows.

Source: PopLibs popnn PoolPlan.cpp: channels go in groups of a multiple of the vector width; a plan
costs its vertex and the exchange of what it reads.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ipuc.codelets.cycles import pool
from ipuc.codelets.define import ceil_div
from ipuc.planner.choices import Record, identity
from ipuc.planner.plan import Table, exchange_cycles, products
from ipuc.planner.pool_blocks import (
    Part,
    columns,
    forward_parts,
    fullest_part,
    gradient_parts,
    most_read,
    read_in_pairs,
)
from ipuc.planner.search import candidates
from ipuc.planner.window import Slide
from ipuc.planner.worst import fullest, part_sizes
from ipuc.program.variables import MIN_BYTES_PER_TILE
from ipuc.target import Target
from ipuc.types import Ints

#: Groups of channels go up to this many vectors, and popnn would have them of this many.
MOST_VECTORS, PREFERRED_VECTORS = 8, 4

Columns = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Pooling:
    """What is to be planned.

    Attributes:
        kind: "max", "sum" (means and norms too), "max gradient", "sum gradient", or "places", where
            a maximum lies.
        batch: images.
        channels: of an image.
        slides: the window along each field dimension, as the forward pass has it.
        itemsizes: bytes of an element of each operand, by name.
        first: of a maximum's gradient, whether it goes to the first of several equal elements.
        lies: channels that lie together in the operand, as popnn finds them; it plans with that,
            as far as it knows costs before a program exists. None if memory knows no groups: then
            the plan is the one that takes least.
    """

    kind: str
    batch: int
    channels: int
    slides: tuple[Slide, ...]
    itemsizes: tuple[tuple[str, int], ...]
    first: bool = True
    lies: int | None = None

    @property
    def backward(self) -> bool:
        """Whether elements of the input are made, not outputs."""
        return self.kind.endswith("gradient")

    @property
    def extents(self) -> tuple[int, ...]:
        """Images, channels, and what is made along each field dimension."""
        made = (s.field if self.backward else s.out for s in self.slides)
        return (self.batch, self.channels, *made)

    @property
    def itemsize(self) -> int:
        """Bytes of an element of the data."""
        return self.itemsizes[0][1]

    def apart(self, vector: int) -> bool:
        """Whether windows neither overlap nor meet padding, nor leave a rest of the field.

        Args:
            vector: channels that a worker loads at once.
        """
        return (
            not self.backward
            and self.channels % vector == 0
            and all(
                s.pad == 0
                and s.dilation == 1
                and s.kernel <= s.stride
                and s.field == s.out * s.stride
                for s in self.slides
            )
        )

    def parts(self, dim: int, count: int) -> list[Part]:
        """Cut one field dimension."""
        slide = self.slides[dim]
        if self.kind == "max gradient":
            whole, own = ("x", "") if self.first else ("", "x")
            return gradient_parts(slide, count, whole, own)
        if self.backward:
            return gradient_parts(slide, count)
        return forward_parts(slide, count, [name for name, _ in self.itemsizes])

    def cycles(
        self, target: Target, batch: Any, channels: Any, group: Any, dims: Sequence[Columns]
    ) -> Any:
        """Cycles of the vertex of a block.

        Args:
            target: the machine.
            batch: images.
            channels: channels.
            group: channels that lie together on the tile.
            dims: size and numbers along each field dimension, as `pool_blocks.columns` gives them.
        """
        sizes = [dim["size"] for dim in dims]
        pairs = list(zip(self.slides, dims, strict=True))
        kernel = tuple(s.kernel for s in self.slides)
        if self.kind == "places":
            return pool.places(target, products([batch, channels, *sizes]), kernel)
        shape = {"batch": batch, "channels": channels, "group": group, "itemsize": self.itemsize}
        if not self.backward:
            meets = [
                pool.forward_meets(
                    d["size"], s.kernel, s.stride, s.dilation, (d["before"], d["after"])
                )
                for s, d in pairs
            ]
            apart = self.apart(target.vector_width(self.itemsize))
            return pool.vertex(target, self.kind, sizes=sizes, meets=meets, apart=apart, **shape)
        meets = [
            pool.gradient_meets(d["size"], s.kernel, s.stride, s.dilation, d["lead"], d["outs"])
            for s, d in pairs
        ]
        kind = self.kind if self.kind in pool.LOOPS else "sum"
        made = pool.vertex(target, kind, sizes=sizes, meets=meets, **shape)
        if self.kind == "max gradient" and self.first:
            outs = [d["outs"] for d in dims]
            meets = [pool.all_meet(n, k) for n, k in zip(outs, kernel, strict=True)]
            made = made + pool.vertex(target, "max", sizes=outs, meets=meets, **shape)
        return made


@dataclass(frozen=True, slots=True)
class PoolPlan:
    """A chosen plan.

    Attributes:
        splits: of images, channel groups and each field dimension.
        group: channels that lie together on a tile.
        record: itemised costs, beside the next plans; cycles as the profile will find them.
    """

    splits: tuple[int, ...]
    group: int
    record: dict[str, Any]


def plan_pooling(target: Target, what: Pooling, pinned: Record | None = None) -> PoolPlan | None:
    """Choose a plan.

    Args:
        target: the machine.
        what: the problem.
        pinned: the record of the plan that it must be, if one is pinned.

    Returns:
        The plan; None if the pinned one is none of this problem.
    """
    found = _Candidates.of(target, what)
    table = found.table()
    if pinned is not None:
        wanted = identity(pinned)
        keep = [row for row in range(len(table.splits)) if identity(table.row(row)) == wanted]
        if not keep:
            return None
        found = found.only(keep)
        table = found.table()
    elif what.lies is not None:
        found = found.only([_as_popnn(found, what.lies)])
        table = found.table()
    row, record = table.choose(target.tiles, exact=found.exact)
    return PoolPlan(tuple(int(n) for n in table.splits[row]), int(found.group[row]), record)


@dataclass(frozen=True, slots=True)
class _Candidates:
    """Plans to choose from: [rows] or [rows, dims] each."""

    target: Target
    what: Pooling
    splits: Ints
    group: Ints
    parts: dict[tuple[int, int], list[Part]]

    @staticmethod
    def of(target: Target, what: Pooling) -> _Candidates:
        """All that are worth a look."""
        vector = target.vector_width(what.itemsize)
        batch, channels, *field = what.extents
        tables, sizes = [], []
        for each in [1] if what.kind == "places" else _groups(vector, channels, what.lies):
            table = candidates([batch, ceil_div(channels, each), *field], target.tiles)
            tables.append(table)
            sizes.append(np.full(len(table), each))
        splits, group = np.concatenate(tables), np.concatenate(sizes)
        used = np.prod(splits, axis=1)
        keep = used >= min(int(used.max()), target.tiles // 4)
        splits, group = splits[keep], group[keep]
        parts = {
            (dim, int(count)): what.parts(dim, int(count))
            for dim in range(len(field))
            for count in np.unique(splits[:, 2 + dim])
        }
        return _Candidates(target, what, splits, group, parts)

    def only(self, rows: Sequence[int]) -> _Candidates:
        """Some of them."""
        return _Candidates(self.target, self.what, self.splits[rows], self.group[rows], self.parts)

    def table(self) -> Table:
        """Costs of one tile of each: of many equal parts the fullest, at no border if it can be.

        There is such a tile, so that no tile of the plan takes less than the dearest.
        """
        what, target = self.what, self.target
        block = self.lead()
        dims = [self._look(dim, fullest_part) for dim in range(self.rank)]
        costs = {
            "input exchange": exchange_cycles(
                np.maximum(self.received(), self.sent()), target.exchange_bytes_per_cycle
            ),
            "compute": what.cycles(target, *block, self.group, dims),
        }
        made = products([*block, *(dim["size"] for dim in dims)])
        work = made * float(target.tiles) / math.prod(what.extents)
        names = ("batch", "channels", *(f"field{d}" for d in range(self.rank)))
        return Table(names, self.splits, costs, work, {"channels per group": self.group})

    @property
    def rank(self) -> int:
        """Field dimensions."""
        return len(self.what.slides)

    def lead(self) -> tuple[Ints, Ints]:
        """Images and channels of the fullest part."""
        channels = np.zeros(len(self.splits), np.int64)
        for group in np.unique(self.group):
            mine = self.group == group
            channels[mine] = fullest(self.what.channels, self.splits[mine, 1], int(group))
        return fullest(self.what.batch, self.splits[:, 0]), channels

    def _look(self, dim: int, pick: Any) -> Columns:
        """Columns of one part for each row."""
        counts, which = np.unique(self.splits[:, 2 + dim], return_inverse=True)
        picked = [pick(self.parts[dim, int(count)]) for count in counts]
        return {name: column[which] for name, column in columns(picked).items()}

    def received(self) -> Ints:
        """Bytes that the fullest tile receives.

        What two neighbours both read comes at twice the rate, if they are a pair.
        """
        inner = self.rank - 1 - np.argmax(self.splits[:, :1:-1] > 1, axis=1)
        buses = self.target.tiles_per_exchange_bus > 1
        total: Any = 0
        for name, itemsize in self.what.itemsizes:
            size: Any = itemsize
            for dim in range(self.rank):
                counts, which = np.unique(self.splits[:, 2 + dim], return_inverse=True)
                cuts = [self.parts[dim, int(count)] for count in counts]
                most = np.array([most_read(cut)[name] for cut in cuts])[which]
                paired = np.array([read_in_pairs(cut, name) for cut in cuts])[which]
                size = size * np.where(buses & (inner == dim), paired, most)
            total = total + np.ceil(size)
        received: Ints = (products(self.lead()) * total).astype(np.int64)
        return received

    def sent(self) -> int:
        """Bytes that a tile sends which holds its share of the operands, none of which it reads."""
        batch, channels, *_ = self.what.extents
        total = 0
        for name, itemsize in self.what.itemsizes:
            made = name in {"y", "dy"}
            size = batch * channels * itemsize
            size *= math.prod(s.out if made else s.field for s in self.what.slides)
            least = max(MIN_BYTES_PER_TILE, ceil_div(size, self.target.tiles))
            total += min(size, least)
        return total

    def exact(self, rows: Ints) -> dict[str, Any]:
        """Compute cycles of the dearest tile of some plans."""
        blocks: list[tuple[int, int, int, tuple[Part, ...]]] = []
        owner: list[int] = []
        for number, row in enumerate(rows):
            size = int(self.group[row])
            batch, channels, *field = (int(n) for n in self.splits[row])
            lead = itertools.product(
                np.unique(part_sizes(self.what.batch, batch)),
                np.unique(part_sizes(self.what.channels, channels, size)),
            )
            cut = [self.parts[dim, count] for dim, count in enumerate(field)]
            for (b, c), parts in itertools.product(lead, itertools.product(*cut)):
                blocks.append((int(b), int(c), size, parts))
                owner.append(number)
        images, chans, group = (np.array([block[i] for block in blocks]) for i in range(3))
        dims = [columns([block[3][dim] for block in blocks]) for dim in range(self.rank)]
        cycles = np.asarray(self.what.cycles(self.target, images, chans, group, dims))
        most = np.zeros(len(rows), np.int64)
        np.maximum.at(most, np.array(owner), cycles)
        return {"compute": most}


def _groups(vector: int, channels: int, lies: int | None) -> list[int]:
    """Sizes of channel groups to try."""
    most = min(MOST_VECTORS, ceil_div(channels, vector))
    if lies is None:
        return [vector * n for n in range(1, most + 1)]
    known = max(min(most, ceil_div(lies, vector)), 1)
    sizes = {vector * n for n in range(1, known + 1)}
    if channels >= PREFERRED_VECTORS * vector:
        sizes.add(PREFERRED_VECTORS * vector)
    return sorted(sizes)


def _as_popnn(found: _Candidates, lies: int) -> int:
    """The row that popnn's planner takes.

    It knows no borders: every output meets every kernel position, or every stride-th does. Another
    grouping than the operand's costs a quarter of a cycle a byte. Groups of the size that
    convolutions prefer may cost a third more.

    Source: PopLibs popnn PoolPlan.cpp and PoolPlan.hpp.
    """
    what, target = found.what, found.target
    vector = target.vector_width(what.itemsize)
    batch, channels = found.lead()
    sizes = [fullest(n, found.splits[:, 2 + d]) for d, n in enumerate(what.extents[2:])]
    kernel = [s.kernel for s in what.slides]
    strides = [s.stride for s in what.slides]
    kind = "sum" if what.kind == "sum gradient" else what.kind
    skipped = strides[-1] if what.backward else 1

    def vertex(sizes: Sequence[Any]) -> Any:
        rows = [pool.all_meet(n, k) for n, k in zip(sizes, kernel, strict=True)]
        rows[-1] = pool.all_meet(sizes[-1], kernel[-1], skipped)
        return pool.vertex(
            target,
            kind,
            batch=batch,
            channels=channels,
            group=found.group,
            sizes=sizes,
            meets=rows,
            itemsize=what.itemsize,
            apart=what.apart(vector),
        )

    cost = vertex(sizes)
    for dim, extent in enumerate(what.extents[2:]):
        less = [np.maximum(n - (d == dim), 1) for d, n in enumerate(sizes)]
        cost = np.where(extent % sizes[dim], np.maximum(cost, vertex(less)), cost)
    step = [1] * len(strides) if what.backward else strides
    reach = products([(n - 1) * s + k for n, s, k in zip(sizes, step, kernel, strict=True)])
    taken = 2 * reach + products(sizes) if what.kind == "max gradient" else reach
    taken = taken * batch * channels * what.itemsize
    regroup = np.where(found.group != lies, taken // 4, 0)
    total = cost + taken // target.exchange_bytes_per_cycle + regroup
    usual = found.group <= max(vector * ceil_div(lies, vector), vector)
    best = int(np.flatnonzero(usual)[np.argmin(total[usual])])
    wanted = PREFERRED_VECTORS * vector
    other = np.flatnonzero(found.group == wanted)
    if found.group[best] < wanted and len(other):
        preferred = int(other[np.argmin(total[other])])
        if total[preferred] < int(total[best]) * 4 // 3:
            return preferred
    return best
