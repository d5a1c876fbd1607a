"""What a vertex of outer products reads: the pieces of rows that its tasks need."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ipuc.codelets.conv_weight_grad_aop import ACTS, ConvWeightGradAop, met
from ipuc.planner.window import Slide, SlideParts
from ipuc.program.family import Access, separable
from ipuc.program.split import Parts
from ipuc.program.tensor import View, coalesce
from ipuc.types import Ints

#: Columns of a table of row pieces: channel group, row, first column, columns.
_GROUP, _ROW, _COLUMN, _WIDTH = range(4)
_NONE: Ints = np.zeros((0, 4), np.int64)


@dataclass(slots=True)
class Tasks:
    """The tasks of one vertex on each tile of a kind.

    Attributes:
        y: sliding window along y.
        x: sliding window along x.
        rows: parts of the deltas along y that see the border alike.
        columns: likewise along x.
        tasks: out group, in group, ky and kx of each task, groups counted on the tile: int64[4, n].
        met: whether a task's kernel element meets any activation on these tiles: bool[n].
    """

    y: Slide
    x: Slide
    rows: SlideParts
    columns: SlideParts
    tasks: Ints
    met: Ints = field(init=False)
    #: The window of activations of each task: int64[n].
    _window: Ints = field(init=False)
    #: Row pieces of the activations of each window, and of the deltas: int64[k, 4] each.
    _acts: list[Ints] = field(init=False)
    _deltas: Ints = field(init=False)

    def __post_init__(self) -> None:
        """Find the rows and columns of every task."""
        self._window = _windows(self.tasks, self.x.kernel)
        acts: list[list[Ints]] = [[_NONE] for _ in ACTS]
        deltas, reach = [_NONE], []
        sizes = (
            (self.rows.out_size, self.rows.in_size),
            (self.columns.out_size, self.columns.in_size),
        )
        for window, task in zip(self._window.tolist(), self.tasks.T.tolist(), strict=True):
            group_out, group_in, ky, kx = task
            down, down_in = met(*sizes[0], self._place(self.y, self.rows, ky), self.y.stride)
            across, across_in = met(*sizes[1], self._place(self.x, self.columns, kx), self.x.stride)
            reach.append(down.start < down.stop and across.start < across.stop)
            if reach[-1]:
                acts[window].append(_pieces(group_in, down_in, across_in))
                deltas.append(_pieces(group_out, down, across))
        self.met = np.array(reach)
        self._acts = [np.concatenate(found) for found in acts]
        self._deltas = np.concatenate(deltas)

    @staticmethod
    def _place(slide: Slide, parts: SlideParts, element: int) -> int:
        """The activation that a tile's first delta meets with a kernel element."""
        return element * slide.dilation - parts.pads[0]

    def codelet(self) -> ConvWeightGradAop:
        """The vertex type: its tasks relative to the windows."""
        firsts, deltas = [_begin(acts) for acts in self._acts], _begin(self._deltas)
        tasks: list[tuple[int, int, int, int, int]] = []
        for window, task in zip(self._window.tolist(), self.tasks.T.tolist(), strict=True):
            group_out, group_in, ky, kx = task
            group, row, column = firsts[window]
            down = self._place(self.y, self.rows, ky) + deltas[_ROW] * self.y.stride
            across = self._place(self.x, self.columns, kx) + deltas[_COLUMN] * self.x.stride
            groups = group_in - group, group_out - deltas[_GROUP]
            tasks.append((window, *groups, down - row, across - column))
        return ConvWeightGradAop(tuple(tasks), (self.y.stride, self.x.stride))

    def acts(self, view: View, outs: Parts, ins: Parts) -> dict[str, Access]:
        """The activations' fields: grid rows, columns, out groups, in groups."""
        zeros = np.zeros_like(outs.begin)
        begins = (self.rows.in_begin, self.columns.in_begin, zeros, ins.begin)
        return {
            name: _field(view, pieces, begins)
            for name, pieces in zip(ACTS, self._acts, strict=True)
        }

    def deltas(self, view: View, outs: Parts, ins: Parts) -> Access:
        """The deltas' field: grid rows, columns, out groups, in groups."""
        zeros = np.zeros_like(ins.begin)
        begins = (self.rows.out_begin, self.columns.out_begin, outs.begin, zeros)
        return _field(view, self._deltas, begins)


def _windows(tasks: Ints, kernel: int) -> Ints:
    """A window of activations for each task: one for kernel rows that are whole, one for others.

    The first and the last row of the kernel that some tasks in a row reach may be cut; whole rows
    lie between them.
    """
    rows = np.cumsum(np.diff(tasks[:3], axis=1, prepend=tasks[:3, :1]).any(axis=0))
    cut = np.bincount(rows)[rows] < kernel
    kind = np.where(cut & (rows == 0), 0, np.where(cut & (rows == rows[-1]), 2, 1))
    found: Ints = np.unique(kind, return_inverse=True)[1].reshape(-1)
    return found


def _pieces(group: int, rows: slice, columns: slice) -> Ints:
    """A piece for each row of a task, from the first of its columns to the last."""
    row = np.arange(rows.start, rows.stop, rows.step or 1, dtype=np.int64)
    made = np.empty((len(row), 4), np.int64)
    made[:, _GROUP], made[:, _ROW] = group, row
    made[:, _COLUMN], made[:, _WIDTH] = columns.start, columns.stop - columns.start
    return made


def _begin(pieces: Ints) -> tuple[int, int, int]:
    """The first group, row and column of all pieces; zeros if there is none."""
    if not len(pieces):
        return 0, 0, 0
    group, row, column = pieces[:, :_WIDTH].min(axis=0).tolist()
    return group, row, column


def _field(view: View, pieces: Ints, begins: Sequence[Ints]) -> Access:
    """The smallest box around row pieces as a window, with the pieces as its entries.

    Args:
        view: [batch, groups, y, x, group], the last two axes one run.
        pieces: what is read on every tile.
        begins: along the grid: rows, columns, out groups, in groups; one of the last two is all
            zeros. In units of the view.
    """
    images, group_step, row_step, _, _ = (_step(axis) for axis in view.axes)
    group = view.shape[-1]
    first = _begin(pieces)
    origin = np.array([*first, 0])
    if not len(pieces):
        nowhere = [np.zeros_like(table) for table in begins]
        return Access(view.variable, separable(view.offset, *nowhere), (0,) * 5, (0,) * 5)
    box = (_ends(pieces).max(axis=0) - origin[:_WIDTH]).tolist()
    group_count, rows, columns = box
    pieces = np.concatenate([pieces, _gaps(pieces - origin, (group_count, rows, columns)) + origin])
    steps = np.array([group_step, row_step, group])
    begin = (pieces - origin)[:, :_WIDTH] @ steps
    image = np.arange(view.shape[0], dtype=np.int64) * images
    entries = np.empty((len(image), len(pieces), 2), np.int64)
    entries[:, :, 0] = image[:, None] + begin
    entries[:, :, 1] = pieces[:, _WIDTH] * group
    down, across, outs, ins = begins
    return Access(
        view.variable,
        separable(
            view.offset + int(origin[:_WIDTH] @ steps),
            down * row_step,
            across * group,
            outs * group_step,
            ins * group_step,
        ),
        (view.shape[0], group_count, rows, columns, group),
        (images, group_step, row_step, group, 1),
        entries.reshape(-1, 2),
    )


def _ends(pieces: Ints) -> Ints:
    ends = pieces[:, :_WIDTH] + 1
    ends[:, _COLUMN] += pieces[:, _WIDTH] - 1
    return ends


def _gaps(pieces: Ints, box: tuple[int, int, int]) -> Ints:
    """What a box holds beside the pieces in it, as pieces."""
    groups, rows, columns = box
    edges = np.zeros((groups, rows, columns + 1), np.int64)
    at = (pieces[:, _GROUP], pieces[:, _ROW])
    np.add.at(edges, (*at, pieces[:, _COLUMN]), 1)
    np.add.at(edges, (*at, pieces[:, _COLUMN] + pieces[:, _WIDTH]), -1)
    free = np.zeros((groups, rows, columns + 2), np.int8)
    free[:, :, 1:-1] = np.cumsum(edges, axis=2)[:, :, :-1] == 0
    change = np.diff(free, axis=2)
    starts, stops = np.argwhere(change > 0), np.argwhere(change < 0)
    return np.column_stack([starts, stops[:, 2] - starts[:, 2]])


def _step(axis: tuple[tuple[int, int], ...]) -> int:
    """Stride of an axis of one factor; 0 of one that has extent 1."""
    factors = coalesce(axis)
    assert len(factors) <= 1
    return factors[0][1] if factors else 0
