"""Candidate partitions of a transformed convolution, as columns of whole numbers."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ipuc.codelets.define import ceil_div
from ipuc.planner.poplin.methods import Method
from ipuc.planner.poplin.params import ConvParams
from ipuc.planner.search import useful_splits
from ipuc.types import Ints

#: No serial split above this: the loop's own cost has long outgrown what it saves.
MOST_SERIAL = 64
#: Groups of input channels that a HorizontalMac vertex may hold; each repeats its whole loop.
MOST_MAC_GROUPS = 4
#: Rows of a table; more would fill the host's memory, and happen only while no plan is known.
MOST_ROWS = 2_000_000
#: A dynamic slice of nothing on six workers; every serial step needs one.
SLICE_CYCLES = 403


@dataclass(frozen=True, slots=True)
class Axis:
    """Ways to cut one axis: columns of choices, the tiles each uses, and the work each leaves.

    Attributes:
        columns: named choices and the sizes they leave on the fullest tile.
        used: tiles that share the axis.
        work: elements that one tile goes through, over all serial steps.
        steps: serial steps.
    """

    columns: Mapping[str, Ints]
    used: Ints
    work: Ints
    steps: Ints

    @property
    def least(self) -> int:
        """Least work of all tiles together."""
        return int((self.used * self.work).min())


def axes(params: ConvParams, method: Method, tiles: int) -> list[Axis]:
    """Every way to cut each axis of a convolution."""
    made = [
        _simple("groups", ceil_div(params.groups, method.bundle), tiles, method.bundle),
        _channels(
            "in",
            params.in_channels,
            method.in_groups,
            tiles,
            most=MOST_MAC_GROUPS if method.name == "HMAC" else 1 if method.single_grain else None,
        ),
        _channels(
            "out",
            params.out_channels,
            method.out_groups,
            tiles,
            most=1 if method.single_grain else None,
        ),
        _simple("batch", params.batch, tiles),
    ]
    for index, dim in enumerate(params.dims):
        # The row of a kernel is never cut: vertices keep its elements together.
        limit = tiles if index < len(params.dims) - 1 else 1
        made.append(_simple(f"kernel{index}", dim.weights.kept(dim.kernel), limit))
    for index, dim in enumerate(params.dims):
        grain = field_grain(params, method) if index == len(params.dims) - 1 else 1
        axis = _simple(f"field{index}", ceil_div(dim.out, grain), tiles, grain)
        made.append(dataclasses.replace(axis, work=ceil_div(axis.work, dim.step)))
    return made


def field_grain(params: ConvParams, method: Method) -> int:
    """Outputs of a row that stay together: two halves, where channels do not come in pairs."""
    odd = params.out_itemsize < 4 and all(size % 2 for size in method.out_groups)
    return 2 if odd else 1


def _simple(name: str, grains: int, most: int, grain: int = 1) -> Axis:
    splits = useful_splits(grains, most)
    size = ceil_div(grains, splits) * grain
    return Axis({f"{name}_split": splits, name: size}, splits, size, np.ones_like(splits))


def _channels(name: str, channels: int, sizes: Sequence[int], tiles: int, most: int | None) -> Axis:
    """Cuts of a channel axis: the size of a group, how many tiles share it, and serial steps.

    Only output channels have serial steps: poplin may also loop over input channels and add up,
    but such a plan was never the cheapest.
    """
    rows: list[Ints] = []
    factors = [f for f in range(1, min(channels, MOST_SERIAL) + 1) if channels % f == 0]
    for size in sizes:
        grains = ceil_div(channels, size)
        for serial in factors if name == "out" and most != 1 else [1]:
            splits = useful_splits(ceil_div(grains, serial), tiles)
            left = ceil_div(ceil_div(grains, serial), splits)
            keep = np.ones(len(splits), bool) if most is None else left <= most
            count = int(keep.sum())
            fixed = np.broadcast_to(np.array([[size], [serial]]), (2, count))
            rows.append(np.vstack([fixed, splits[keep], left[keep]]))
    group, serial, split, left = np.concatenate(rows, axis=1)
    columns = {
        f"{name}_group": group,
        f"{name}_serial": serial,
        f"{name}_split": split,
        f"{name}_groups": left,
    }
    return Axis(columns, split, group * left * serial, serial)


def grow(
    made: Sequence[Axis],
    tiles: int,
    *,
    rate: float,
    bound: float,
    step_cycles: float = 0.0,
    most: int = MOST_ROWS,
    loops: bool = True,
) -> dict[str, Ints]:
    """Combine the axes into candidates, dropping those that cannot be good as early as possible.

    Args:
        made: the axes.
        tiles: tiles of the machine.
        rate: multiply-adds per cycle and tile that are never exceeded.
        bound: cycles; rows that cannot be below are dropped.
        step_cycles: cycles that every serial step costs beside its multiply-adds, at least.
        most: keep this many rows at most, those with the lowest bounds.
        loops: offer serial splits.

    Returns:
        Columns by name, and "used", the tiles of each row.
    """
    chosen: list[Ints] = []
    used = np.ones(1, np.int64)
    steps = np.ones(1, np.int64)
    work = np.ones(1, np.float64)
    rest = float(math.prod(axis.least for axis in made))
    # Axes with much work first: their cuts tell good rows from bad ones earliest.
    order = sorted(range(len(made)), key=lambda i: -made[i].least)
    for index in order:
        axis = made[index]
        rest /= axis.least
        total = used[:, None] * axis.used[None, :]
        serial = steps[:, None] * axis.steps[None, :]
        # What is left is shared by the tiles that are left, at best evenly.
        share = np.maximum(rest / np.maximum(tiles // total, 1), 1.0)
        least = work[:, None] * axis.work[None, :] * share / rate + serial * step_cycles
        least = least + (serial > 1) * serial * SLICE_CYCLES
        fits = (total <= tiles) & (least < bound)
        if not loops:
            fits &= serial == 1
        rows, columns = np.nonzero(fits)
        if len(rows) > most:
            best = np.argpartition(least[rows, columns], most)[:most]
            rows, columns = rows[best], columns[best]
        chosen = [one[rows] for one in chosen] + [columns]
        used, steps = total[rows, columns], serial[rows, columns]
        work = work[rows] * axis.work[columns]
    table = {"used": used}
    for position, index in enumerate(order):
        for name, column in made[index].columns.items():
            table[name] = column[chosen[position]]
    return table


def take(table: Mapping[str, Ints], rows: NDArray[np.bool_] | Ints) -> dict[str, Ints]:
    """Some rows of a table."""
    return {name: column[rows] for name, column in table.items()}
