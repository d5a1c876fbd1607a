"""The lists that a convolution vertex of 2017 is given: weights, pieces of input and output rows.

Source: rules read in the public history of Graphcore's PopLibs, winter 2016/17.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ipuc.planner.window import Slide
from ipuc.types import Ints, Shape


@dataclass(frozen=True, slots=True)
class Side:
    """One field dimension of a tile's block.

    Attributes:
        slide: the sliding window of the whole convolution.
        before: places before the block's first input that hold none.
        ins: inputs of the block.
        outs: outputs of the block.
    """

    slide: Slide
    before: int
    ins: int
    outs: int

    def met(self, element: int) -> tuple[Ints, Ints]:
        """Outputs that meet an input with a kernel element, and those inputs."""
        slide, outs = self.slide, np.arange(self.outs, dtype=np.int64)
        place = outs * slide.stride + element * slide.dilation - self.before
        ins, rest = np.divmod(place, slide.spread)
        here = (rest == 0) & (ins >= 0) & (ins < self.ins)
        return outs[here], ins[here]


@dataclass(frozen=True, slots=True)
class Slots:
    """Entries of each field: int64[k, 2] of begin relative to the window, and length."""

    x: Ints
    weights: Ints
    out: Ints


def slots(
    sides: tuple[Side, Side],
    groups: tuple[int, int, int],
    fused: int,
    x_strides: tuple[int, int, int],
    workers: int,
) -> Slots:
    """List what one vertex is given.

    For each in group, fused kernel rows and kernel column: the weights of each of these rows; and
    for each piece of each worker's run the inputs of each of these rows, and the outputs. A run
    that crosses the end of a row is two pieces.

    Args:
        sides: y and x.
        groups: in groups of the tile, input channels of one, output channels of one.
        fused: kernel rows that are taken at once.
        x_strides: from one in group, row and pixel of the input to the next.
        workers: worker contexts of a tile.
    """
    rows, columns = sides
    count, in_group, out_group = groups
    kernel = (rows.slide.kernel, columns.slide.kernel)
    inputs: list[Ints] = []
    outputs: list[Ints] = []
    for down, across in np.ndindex(-(-kernel[0] // fused), kernel[1]):
        taken = range(down * fused, min((down + 1) * fused, kernel[0]))
        x, out = _position(sides, taken, across, workers)
        outputs.append(out * out_group)
        inputs.append(np.column_stack([x[:, 0] * x_strides[1] + x[:, 1] * x_strides[2], x[:, 2]]))
    each = np.concatenate(inputs)
    each[:, 1] = (each[:, 1] - 1) * x_strides[2] + in_group
    weights = np.arange(count * kernel[0] * kernel[1], dtype=np.int64) * (out_group * in_group)
    shifts = np.repeat(np.arange(count, dtype=np.int64) * x_strides[0], len(each))
    each = np.tile(each, (count, 1))
    each[:, 0] += shifts
    return Slots(
        each,
        np.column_stack([weights, np.full_like(weights, out_group * in_group)]),
        np.tile(np.concatenate(outputs), (count, 1)),
    )


def _position(
    sides: tuple[Side, Side], taken: range, across: int, workers: int
) -> tuple[Ints, Ints]:
    """Pieces for some kernel rows and one kernel column.

    Returns:
        Row, first column and columns of each piece of inputs: int64[k, 3]; begin and length of
        each piece of outputs, in pixels of the block: int64[n, 2].
    """
    rows, columns = sides
    met = [rows.met(element) for element in taken]
    down = np.unique(np.concatenate([outs for outs, _ in met]))
    over, seen = columns.met(across)
    total, width = len(down) * len(over), len(over)
    if not total:
        return np.zeros((0, 3), np.int64), np.zeros((0, 2), np.int64)
    edges = np.arange(workers + 1) * total // workers
    cuts = np.unique(np.concatenate([edges, np.arange(len(down)) * width]))
    begin, end = cuts[:-1], cuts[1:]
    row, first = np.divmod(begin, width)
    last = first + end - begin - 1
    place = down[row] * columns.outs + over[first]
    out = np.column_stack([place, over[last] - over[first] + 1])
    pieces = np.column_stack([seen[first], seen[last] - seen[first] + 1])
    x: list[Ints] = []
    for outs, ins in met:
        position = np.full(rows.outs, -1, np.int64)
        position[outs] = ins
        at = position[down[row]]
        x.append(np.column_stack([at, pieces])[at >= 0])
    return np.concatenate(x), out


def covering(entries: Ints, shape: Shape, strides: tuple[int, ...]) -> Ints:
    """Entries, and the runs of the window that none of them reaches.

    A vertex holds its whole window: what lies between two pieces is connected too.
    """
    if 0 in shape:
        return entries
    reach = sum((n - 1) * s for n, s in zip(shape, strides, strict=True)) + 1
    window = np.zeros(reach, bool)
    np.lib.stride_tricks.as_strided(window, shape, strides)[...] = True
    edges = np.zeros(reach + 1, np.int64)
    np.add.at(edges, entries[:, 0], 1)
    np.add.at(edges, entries.sum(axis=1), -1)
    left = window & (np.cumsum(edges[:-1]) == 0)
    if not left.any():
        return entries
    change = np.diff(np.concatenate([[0], left.view(np.int8), [0]]))
    begins, ends = np.flatnonzero(change == 1), np.flatnonzero(change == -1)
    return np.concatenate([entries, np.column_stack([begins, ends - begins])])


def line_pieces(begin: int, end: int, line: int) -> Iterator[tuple[int, int]]:
    """Cut a run of pixels at the ends of lines: begin relative to the run, and length of each."""
    at = begin
    while at < end:
        stop = min(end, (at // line + 1) * line)
        yield at - begin, stop - at
        at = stop
