"""What a vertex of outer products reads: the pieces of rows that its tasks need."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ipuc.codelets.conv_weight_grad_aop import ConvWeightGradAop, met
from ipuc.planner.window import Slide, SlideParts
from ipuc.program.family import Access, separable
from ipuc.program.split import Parts
from ipuc.program.tensor import View, coalesce
from ipuc.types import Ints

#: Columns of a table of row pieces: channel group, row, first column, columns.
_GROUP, _ROW, _COLUMN, _WIDTH = range(4)


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
    #: Row pieces of activations and of deltas, of all tasks: int64[k, 4].
    _acts: Ints = field(init=False)
    _deltas: Ints = field(init=False)

    def __post_init__(self) -> None:
        """Find the rows and columns of every task."""
        found: list[tuple[Ints, Ints]] = []
        reach: list[bool] = []
        for group_out, group_in, ky, kx in self.tasks.T.tolist():
            down, down_in = met(
                self.rows.out_size,
                self.rows.in_size,
                self._place(self.y, self.rows, ky),
                self.y.stride,
            )
            across, across_in = met(
                self.columns.out_size,
                self.columns.in_size,
                self._place(self.x, self.columns, kx),
                self.x.stride,
            )
            reach.append(down.start < down.stop and across.start < across.stop)
            if reach[-1]:
                found.append(
                    (_pieces(group_in, down_in, across_in), _pieces(group_out, down, across))
                )
        self.met = np.array(reach)
        empty = np.zeros((0, 4), np.int64)
        self._acts = np.concatenate([empty, *(acts for acts, _ in found)])
        self._deltas = np.concatenate([empty, *(deltas for _, deltas in found)])

    @staticmethod
    def _place(slide: Slide, parts: SlideParts, element: int) -> int:
        """The activation that a tile's first delta meets with a kernel element."""
        return element * slide.dilation - parts.pads[0]

    def codelet(self) -> ConvWeightGradAop:
        """The vertex type: its tasks relative to the windows."""
        acts, deltas = _begin(self._acts), _begin(self._deltas)
        tasks = [
            (
                group_in - acts[_GROUP],
                group_out - deltas[_GROUP],
                self._place(self.y, self.rows, ky) + deltas[_ROW] * self.y.stride - acts[_ROW],
                self._place(self.x, self.columns, kx)
                + deltas[_COLUMN] * self.x.stride
                - acts[_COLUMN],
            )
            for group_out, group_in, ky, kx in self.tasks.T.tolist()
        ]
        return ConvWeightGradAop(tuple(tasks), (self.y.stride, self.x.stride))

    def acts(self, view: View, outs: Parts, ins: Parts) -> Access:
        """The activations' field: grid rows, columns, out groups, in groups."""
        zeros = np.zeros_like(outs.begin)
        return _field(
            view, self._acts, (self.rows.in_begin, self.columns.in_begin, zeros, ins.begin)
        )

    def deltas(self, view: View, outs: Parts, ins: Parts) -> Access:
        """The deltas' field: grid rows, columns, out groups, in groups."""
        zeros = np.zeros_like(ins.begin)
        begins = (self.rows.out_begin, self.columns.out_begin, outs.begin, zeros)
        return _field(view, self._deltas, begins)


def _pieces(group: int, rows: slice, columns: slice) -> Ints:
    """A piece for each row of a task, from the first of its columns to the last."""
    row = np.arange(rows.start, rows.stop, rows.step or 1, dtype=np.int64)
    made = np.empty((len(row), 4), np.int64)
    made[:, _GROUP], made[:, _ROW] = group, row
    made[:, _COLUMN], made[:, _WIDTH] = columns.start, columns.stop - columns.start
    return made


def _begin(pieces: Ints) -> tuple[int, int, int]:
    """The first group, row and column of all pieces."""
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
