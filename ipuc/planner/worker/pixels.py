"""Tensors in groups of channels, as vertices reach them: a group of one pixel, or of several.

Source: rules read in the public history of Graphcore's PopLibs, winter 2016/17.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np

from ipuc.planner.context import Context
from ipuc.planner.worker.layout import by_groups, group_of, regrouped
from ipuc.planner.worker.shares import tile_of
from ipuc.program.family import Access, IndexMap, separable
from ipuc.program.tensor import Axis, Tensor, coalesce
from ipuc.types import Ints

#: Channels that lie together at least where vertices read a tensor as it lies: one word of halves.
LEAST = 4


@dataclass(frozen=True, slots=True)
class Pixels:
    """A tensor cut into groups of channels, which lie in parts of equal size.

    Attributes:
        variable: where it lies.
        offset: its first element there.
        images: how far each image lies behind that, and
        groups: each group of channels.
        steps: elements from row to row, column to column, and part to part.
        part: channels of a part.
        parts: parts of a group.
    """

    variable: int
    offset: int
    images: Ints
    groups: Ints
    steps: tuple[int, int, int]
    part: int
    parts: int

    @classmethod
    def of(cls, ctx: Context, tensor: Tensor, group: int, part: int) -> Pixels:
        """Of a tensor [batch, channels, *field], one or two field dimensions.

        Args:
            ctx: the lowering.
            tensor: it lies in groups of `part` channels, or of more that parts divide.
            group: channels of a group.
            part: channels of a part; all parts of a group are equally far apart.
        """
        batch, channels, *field = tensor.shape
        shape = (batch, channels // group, group // part, part, *(1,) * (2 - len(field)), *field)
        split = tensor.reshape(shape)
        assert split is not None  # `meeting_part` has seen to it
        view = ctx.builder.one_view(split)
        images, groups, parts, _, rows, columns = view.axes
        steps = (_step(rows), _step(columns), _step(parts))
        return cls(
            view.variable, view.offset, _table(images), _table(groups), steps, part, shape[2]
        )

    def single(self, rows: Ints, columns: Ints) -> Access:
        """One pixel for each row and column: windows [parts, part]."""
        offset = self._offset(rows, columns)
        window = (self.parts, self.part), (self.steps[2], 1)
        return Access(self.variable, offset, *window)

    def several(self, rows: tuple[Ints, int], columns: tuple[Ints, int]) -> Access:
        """Pixels beside one another: windows [rows, columns, parts, part], in parts.

        Args:
            rows: the first row of each window, and how many.
            columns: likewise.
        """
        begins = [
            sum(i * step for i, step in zip(at, self.steps, strict=True))
            for at in itertools.product(range(rows[1]), range(columns[1]), range(self.parts))
        ]
        return Access(
            self.variable,
            self._offset(rows[0], columns[0]),
            (rows[1], columns[1], self.parts, self.part),
            (*self.steps, 1),
            np.column_stack([np.array(begins, np.int64), np.full(len(begins), self.part)]),
        )

    def tiles(self, ctx: Context, rows: Ints, columns: Ints) -> IndexMap:
        """Tiles of single pixels of a whole variable that lies in groups, spread by them."""
        size, group = ctx.builder.variables[self.variable].size, self.parts * self.part
        elements = self._offset(rows, columns).dense()
        return IndexMap(0, explicit=tile_of(ctx.target, elements, size, group))

    def _offset(self, rows: Ints, columns: Ints) -> IndexMap:
        y, x, _ = self.steps
        return separable(self.offset, self.images, self.groups, rows * y, columns * x)


def meeting_part(
    ctx: Context, tensors: list[tuple[Tensor, str]], group: int
) -> tuple[list[Tensor], int]:
    """Tensors as vertices read groups of channels of them, and the parts in which they do.

    Args:
        ctx: the lowering.
        tensors: each [batch, channels, *field], and the name of a copy of it.
        group: channels of a group.

    Returns:
        The tensors, copied into groups where they lie in none, in very small ones, or in others
        than the rest; and the channels of a part.
    """
    parts = [math.gcd(group_of(tensor) or 1, group) for tensor, _ in tensors]
    if len(set(parts)) == 1 and parts[0] >= min(group, LEAST):
        return [tensor for tensor, _ in tensors], parts[0]
    return [regrouped_wide(ctx, tensor, group, name) for tensor, name in tensors], group


def regrouped_wide(ctx: Context, tensor: Tensor, group: int, name: str) -> Tensor:
    """A tensor in groups of a multiple of some channels: itself, or a copy in those groups."""
    if (group_of(tensor) or 1) % group == 0 and by_groups(tensor, group).size:
        return tensor
    return regrouped(ctx, tensor, group, name)


def _table(axis: Axis) -> Ints:
    """Where each index of an axis lies."""
    at = np.zeros(1, np.int64)
    for extent, stride in coalesce(axis):
        at = (at[:, None] + np.arange(extent, dtype=np.int64) * stride).reshape(-1)
    return at


def _step(axis: Axis) -> int:
    """Elements from index to index of an axis that is one run."""
    factors = coalesce(axis)
    assert len(factors) <= 1
    return factors[0][1] if factors else 0
